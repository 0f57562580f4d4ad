//! What was published and what came of it: the model that the cores are judged by.

use std::fmt;

use crate::QoS;

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many messages were published, in both directions.
    pub messages: usize,
    /// How many times the link broke.
    pub cuts: usize,
    /// How many times a side crashed.
    pub crashes: usize,
    /// How many times a side lost its session.
    pub sessions_lost: usize,
    /// How many messages at QoS 1 and 2 never came.
    pub lost: usize,
    /// How many messages came more often than allowed.
    pub duplicated: usize,
    /// How many messages first came before an older one of the same QoS.
    pub out_of_order: usize,
    /// What else went wrong.
    pub faults: Vec<String>,
}

impl Report {
    /// Tells whether every promise was kept.
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.out_of_order == 0 && self.faults.is_empty()
    }

    /// Adds another run's report.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.cuts += other.cuts;
        self.crashes += other.crashes;
        self.sessions_lost += other.sessions_lost;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.faults.extend(other.faults);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, cuts, crashes, sessions_lost, lost, duplicated, out_of_order, faults } = self;
        write!(
            f,
            "{messages} messages, {cuts} cuts, {crashes} crashes, {sessions_lost} sessions lost: \
             {lost} lost, {duplicated} duplicated, {out_of_order} out of order"
        )?;
        for fault in faults {
            write!(f, "; {fault}")?;
        }
        Ok(())
    }
}

/// The messages of one direction, by number.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    qos: QoS,
    /// Whether the receiver has seen it.
    is_offered: bool,
    /// How many times the receiver has it, on its disk at QoS 1 and 2.
    deliveries: usize,
    /// The receiver has refused it: it need not come.
    is_refused: bool,
    /// A session was lost while it was unfinished: it may come twice.
    is_void: bool,
    /// The sender's disk knows that it is finished.
    is_finished: bool,
}

impl Ledger {
    pub(super) fn publish(&mut self, qos: QoS) -> u64 {
        self.entries.push(Entry {
            qos,
            is_offered: false,
            deliveries: 0,
            is_refused: false,
            is_void: false,
            is_finished: false,
        });
        self.entries.len() as u64 - 1
    }

    pub(super) fn qos(&self, number: u64) -> QoS {
        self.entry(number).map_or(QoS::AtMostOnce, |entry| entry.qos)
    }

    /// Notes that a message came and tells whether one before it, of the same QoS, has never come.
    pub(super) fn offer(&mut self, number: u64) -> Result<(), &'static str> {
        let Some(entry) = self.entry_mut(number) else { return Err("a message that nobody published") };
        let qos = entry.qos;
        if std::mem::replace(&mut entry.is_offered, true) {
            return if qos == QoS::AtMostOnce { Err("a message at QoS 0 twice") } else { Ok(()) };
        }
        let is_before = |older: &Entry| older.qos == qos && !older.is_offered && qos != QoS::AtMostOnce;
        let older = self.entries.get(..index(number)).unwrap_or_default();
        if older.iter().rev().take(2_000).any(is_before) { Err("order") } else { Ok(()) }
    }

    pub(super) fn deliver(&mut self, number: u64) {
        if let Some(entry) = self.entry_mut(number) {
            entry.deliveries += 1;
        }
    }

    pub(super) fn refuse(&mut self, number: u64) {
        if let Some(entry) = self.entry_mut(number) {
            entry.is_refused = true;
        }
    }

    pub(super) fn finish(&mut self, number: u64) {
        if let Some(entry) = self.entry_mut(number) {
            entry.is_finished = true;
        }
    }

    /// A session is lost: what is unfinished may come twice.
    pub(super) fn void_unfinished(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_finished) {
            entry.is_void = true;
        }
    }

    /// The messages at QoS 1 and 2 that the sender's disk does not know to be finished.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = u64> + '_ {
        let wanted = |entry: &Entry| entry.qos != QoS::AtMostOnce && !entry.is_finished;
        self.entries.iter().zip(0..).filter(move |(entry, _)| wanted(entry)).map(|(_, number)| number)
    }

    pub(super) fn judge(&self, report: &mut Report) {
        report.messages += self.entries.len();
        for entry in &self.entries {
            let is_once = entry.qos != QoS::AtLeastOnce && !entry.is_void;
            let is_owed = entry.qos != QoS::AtMostOnce && !entry.is_refused;
            report.duplicated += usize::from(is_once && entry.deliveries > 1);
            report.lost += usize::from(is_owed && entry.deliveries == 0);
        }
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(index(number))
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(index(number))
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
