//! The judge: what was promised, what came, and whether that is right. It knows nothing of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

mod letters;
mod wills;

use letters::Letters;
use wills::Wills;

pub(super) use letters::Letter;

use super::shelf::Shelf;

/// A publisher's messages to one topic at one QoS, in the order in which they were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane(pub(super) usize);

/// A subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reader(pub(super) usize);

/// Something on the way of a message that may forget: by its name.
pub(super) type Place = &'static str;

/// That the messages of a lane reach a subscriber, and what may be said of it.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) lane: Lane,
    pub(super) reader: Reader,
    /// The lowest QoS on the way.
    pub(super) qos: u8,
    /// What it passes.
    pub(super) places: Vec<Place>,
    /// Whether a limit with a name on the way may drop it, counted.
    pub(super) may_drop: bool,
    /// Whether it is a Will, which waits with its device and in no queue.
    pub(super) is_will: bool,
    /// Whether a message that waits is replaced by the next one.
    pub(super) keeps_latest: bool,
    /// Whether its end can bear every message.
    pub(super) bears: bool,
}

/// What a place forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgot {
    /// What it had accepted, and who wanted it.
    Messages,
    /// That it had sent what waited at QoS 0: nothing that is promised, so it is not synced before it goes.
    Unpromised,
    /// Nothing, but it has refused messages for the moment: they come again behind others (C5).
    Order,
}

/// A time in which what was on its way through a place is judged less.
#[derive(Debug)]
struct Gap {
    place: Place,
    forgot: Forgot,
    /// Open until everybody is subscribed again.
    until_ms: u64,
}

#[derive(Debug, Default)]
struct Sent {
    at_ms: u64,
    is_confirmed: bool,
}

#[derive(Debug, Default)]
struct Came {
    /// Which messages came, in the order of their first coming.
    order: Vec<usize>,
    seen: BTreeSet<usize>,
    /// Which came last, again or not.
    last: Option<usize>,
}

/// A message that was confirmed and has not come to a subscriber.
pub(super) type Missing = (Lane, usize, Reader);

/// How long what was published at QoS 0 may be on its way when its connection is closed.
const LAST_WORDS_MS: u64 = 1_000;

/// What the judge has written down.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    reaches: Vec<Reach>,
    sent: BTreeMap<Lane, Vec<Sent>>,
    came: BTreeMap<(Reader, Lane), Came>,
    gaps: Vec<Gap>,
    /// Without any fault nothing at all comes twice.
    is_calm: bool,
    /// How many messages all limits together say to have dropped.
    dropped: u64,
    wills: Wills,
    letters: Letters,
    /// What is retained.
    pub(super) shelf: Shelf,
    /// When connections were closed whose last words may be lost.
    cut_short_ms: Vec<u64>,
    /// How often something has begun to go wrong, or ended to.
    troubles: u64,
    violations: Vec<String>,
    pub(super) tally: Tally,
}

/// What the judge has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were published.
    pub published: u64,
    /// Messages whose publisher was told that they are accepted.
    pub confirmed: u64,
    /// Messages that came, each at each subscriber once.
    pub came: u64,
    /// Messages that came once more, as they may at QoS 1.
    pub again: u64,
    /// Messages that did not come, as they may at QoS 0, when a place forgets or a limit drops.
    pub excused: u64,
    /// Messages that limits have dropped and counted.
    pub dropped: u64,
}

impl Tally {
    /// Adds what was counted in another run.
    pub fn add(&mut self, other: Self) {
        self.published += other.published;
        self.confirmed += other.confirmed;
        self.came += other.came;
        self.again += other.again;
        self.excused += other.excused;
        self.dropped += other.dropped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, confirmed, came, again, excused, dropped } = self;
        write!(
            f,
            "{published} published, {confirmed} confirmed, {came} came, {again} again as they may, \
             {excused} did not as they may, {dropped} dropped by a limit"
        )
    }
}

impl Ledger {
    pub(super) fn new(reaches: Vec<Reach>, is_calm: bool) -> Self {
        Self { reaches, is_calm, ..Self::default() }
    }

    /// Notes that a message is about to be published, and returns its number in its lane.
    pub(super) fn publish(&mut self, lane: Lane, at_ms: u64) -> usize {
        self.tally.published += 1;
        let sent = self.sent.entry(lane).or_default();
        sent.push(Sent { at_ms, is_confirmed: false });
        sent.len() - 1
    }

    /// Notes that its publisher was told that it is accepted.
    pub(super) fn confirm(&mut self, lane: Lane, number: usize) {
        if let Some(sent) = self.sent.get_mut(&lane).and_then(|sent| sent.get_mut(number)) {
            sent.is_confirmed = true;
            self.tally.confirmed += 1;
        }
    }

    /// Notes that a subscriber has taken a message.
    pub(super) fn take(&mut self, reader: Reader, lane: Lane, number: usize, at_ms: u64) {
        let reach = self.reaches.iter().find(|reach| reach.lane == lane && reach.reader == reader);
        let sent_at_ms = self.sent.get(&lane).and_then(|sent| sent.get(number)).map(|sent| sent.at_ms);
        let (Some(reach), Some(sent_at_ms)) = (reach.cloned(), sent_at_ms) else {
            return self.accuse(format!("{reader:?} got {number} of {lane:?}, which is not for it"));
        };
        self.take_will(&reach, number, sent_at_ms, at_ms);
        if self.is_kept_away(&reach, number) {
            self.accuse(format!(
                "letters: {reader:?} got {number} of {lane:?}, which is poison, at {at_ms} ms"
            ));
        }
        let is_revived = self.is_revived(&reach, number);
        let came = self.came.entry((reader, lane)).or_default();
        came.last = Some(number);
        if !came.seen.insert(number) {
            return self.take_again(&reach, number, sent_at_ms, at_ms);
        }
        self.tally.came += 1;
        if is_revived {
            return;
        }
        let last = came.order.last().copied();
        came.order.push(number);
        let may_overtake = |gap: &Gap| gap.forgot == Forgot::Order && reach.places.contains(&gap.place);
        // At QoS 0 a copy that was lost comes, late, when a place sends again what it has forgotten to have sent.
        let is_late_copy = reach.qos == 0 && self.has_forgotten(&reach, Forgot::Unpromised, sent_at_ms);
        // A limit drops it, or a newer one replaces it, the word that it is acknowledged is lost, and its publisher sends
        // it again.
        let may_come_after_all = reach.qos == 1 && (reach.may_drop || reach.keeps_latest) && !self.is_calm;
        // Where poison is looked for, what is alone on its way when something else ends the connection waits for others.
        let may_be_set_aside = !reach.bears && self.troubles > 0;
        if let Some(last) = last.filter(|last| *last > number)
            && !is_late_copy
            && !may_come_after_all
            && !may_be_set_aside
            && !self.gaps.iter().any(may_overtake)
        {
            self.accuse(format!("order: {reader:?} got {number} of {lane:?} after {last}, at {at_ms} ms"));
        }
    }

    /// Notes that something begins to go wrong, or ends to.
    pub(super) const fn note_trouble(&mut self) {
        self.troubles += 1;
    }

    /// Returns how often that was noted: it is even while nothing goes wrong.
    pub(super) const fn troubles(&self) -> u64 {
        self.troubles
    }

    fn take_again(&mut self, reach: &Reach, number: usize, sent_at_ms: u64, at_ms: u64) {
        self.tally.again += 1;
        let may_repeat = self.wills.may_repeat(reach.lane, number)
            || !self.is_calm
                && match reach.qos {
                    0 => self.has_forgotten(reach, Forgot::Unpromised, sent_at_ms),
                    1 => true,
                    _ => self.has_forgotten(reach, Forgot::Messages, sent_at_ms),
                };
        if !may_repeat {
            let Reach { lane, reader, qos, .. } = reach;
            self.accuse(format!(
                "twice: {reader:?} got {number} of {lane:?} again at QoS {qos}, at {at_ms} ms"
            ));
        }
    }

    /// Notes that a place forgets from now on, until [`remember`](Self::remember).
    pub(super) fn forget(&mut self, place: Place, forgot: Forgot) {
        self.gaps.push(Gap { place, forgot, until_ms: u64::MAX });
    }

    /// Notes that a place works again and everybody who was subscribed there is.
    pub(super) fn remember(&mut self, place: Place, at_ms: u64) {
        let open = self.gaps.iter_mut().filter(|gap| gap.place == place && gap.until_ms == u64::MAX);
        open.for_each(|gap| gap.until_ms = at_ms);
    }

    /// Notes that something is not as it must be.
    pub(super) fn accuse(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Returns the first thing that was not as it must be.
    pub(super) fn violation(&self) -> Option<&str> {
        self.violations.first().map(String::as_str)
    }

    /// Notes that a connection was closed before all was read that had come on it: what was under way the other way may be
    /// lost with it, as systems do.
    pub(super) fn note_cut_short(&mut self, at_ms: u64) {
        self.cut_short_ms.push(at_ms);
    }

    /// Notes how many messages all limits together say to have dropped.
    pub(super) fn note_dropped(&mut self, dropped: u64) {
        self.dropped = dropped;
        self.tally.dropped = dropped;
    }

    /// Returns how many that are.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Tells whether more is to come than limits say to have dropped, apart from so many that are dead letters.
    pub(super) fn lacks(&self, dead: u64) -> bool {
        let (droppable, promised) = self.missing_by_limit();
        promised.len() as u64 > dead || droppable.len() as u64 > self.dropped
    }

    /// Returns how many messages that were confirmed are on their way, of those whose way is this.
    pub(super) fn on_their_way(&self, is_meant: impl Fn(&[Place]) -> bool) -> u64 {
        let reaches =
            self.reaches.iter().filter(|reach| reach.qos > 0 && !reach.is_will && is_meant(&reach.places));
        reaches.map(|reach| self.missing_on(reach).count() as u64).sum()
    }

    /// Returns every way that messages at QoS 1 and 2 take.
    pub(super) fn ways(&self) -> BTreeSet<Vec<Place>> {
        self.reaches.iter().filter(|reach| reach.qos > 0).map(|reach| reach.places.clone()).collect()
    }

    /// Returns what is still to come, apart what a limit may have dropped.
    fn missing_by_limit(&self) -> (Vec<Missing>, Vec<Missing>) {
        let may_drop = |(lane, number, reader): &Missing| {
            let mut of_it =
                self.reaches.iter().filter(|reach| reach.lane == *lane && reach.reader == *reader);
            let last = self.came.get(&(*reader, *lane)).and_then(|came| came.seen.last());
            let is_replaced = last.is_some_and(|last| last > number);
            of_it.any(|reach| reach.may_drop || (reach.keeps_latest && is_replaced))
        };
        self.missing().partition(may_drop)
    }

    /// Returns what is still to come: confirmed, not there, and not excused.
    pub(super) fn missing(&self) -> impl Iterator<Item = Missing> {
        let promised = self.reaches.iter().filter(|reach| reach.qos > 0 || self.is_calm);
        promised.flat_map(|reach| {
            let numbers = self.missing_on(reach);
            let is_due = |number: &usize| reach.qos > 0 || !self.may_be_last_words(reach.lane, *number);
            numbers.filter(is_due).map(|number| (reach.lane, number, reach.reader))
        })
    }

    /// Returns how many messages at QoS 1 and 2 must have passed the hub to a place, if nothing on their way forgot.
    pub(super) fn passed(&self, to: Place) -> u64 {
        let is_through = |reach: &&Reach| reach.places.len() == 3 && reach.places.last() == Some(&to);
        let whole = |reach: &&Reach| !self.has_forgotten(reach, Forgot::Messages, 0) && reach.qos > 0;
        let confirmed = |reach: &Reach| {
            let sent = self.sent.get(&reach.lane).map(Vec::as_slice).unwrap_or_default();
            sent.iter().filter(|sent| sent.is_confirmed).count() as u64
        };
        self.reaches.iter().filter(is_through).filter(whole).map(confirmed).sum()
    }

    fn missing_on<'a>(&'a self, reach: &'a Reach) -> impl Iterator<Item = usize> + 'a {
        let sent = self.sent.get(&reach.lane).map(Vec::as_slice).unwrap_or_default();
        let is_missing = |(number, sent): &(usize, &'a Sent)| {
            sent.is_confirmed && !self.is_excused(reach, sent, *number) && !self.is_kept_away(reach, *number)
        };
        sent.iter().enumerate().filter(is_missing).map(|(number, _)| number)
    }

    fn may_be_last_words(&self, lane: Lane, number: usize) -> bool {
        let sent = self.sent.get(&lane).and_then(|sent| sent.get(number));
        let is_before = |at_ms: &u64| {
            sent.is_some_and(|sent| sent.at_ms <= *at_ms && *at_ms <= sent.at_ms + LAST_WORDS_MS)
        };
        self.cut_short_ms.iter().any(is_before)
    }

    /// Judges the end: everything that was promised has come.
    pub(super) fn close(&mut self) {
        let (droppable, mut missing) = self.missing_by_limit();
        let (count, dropped) = (droppable.len(), self.dropped);
        if count as u64 > dropped {
            self.accuse(format!("lost: limits have dropped {dropped} messages, and {count} never came"));
            missing.extend(droppable);
        }
        for (lane, number, reader) in missing {
            self.accuse(format!("lost: {reader:?} never got {number} of {lane:?}, which was confirmed"));
        }
        let stale: Vec<String> = self.reaches.iter().filter_map(|reach| self.stale(reach)).collect();
        stale.into_iter().for_each(|what| self.accuse(what));
        let reaches = &self.reaches;
        let due: usize = reaches.iter().map(|reach| self.sent.get(&reach.lane).map_or(0, Vec::len)).sum();
        self.tally.excused = (due as u64).saturating_sub(self.tally.came);
    }

    /// Returns what is wrong where only the newest message is wanted, and an older one came last.
    ///
    /// One that was replaced may come after the one that replaced it, when its publisher sends both again; but then that
    /// one comes again as well.
    fn stale(&self, reach: &Reach) -> Option<String> {
        let Came { seen, last, .. } = self.came.get(&(reach.reader, reach.lane))?;
        let (newest, last) = (seen.last()?, (*last)?);
        let passes = |gap: &Gap| gap.forgot != Forgot::Unpromised && reach.places.contains(&gap.place);
        let is_judged = reach.keeps_latest && reach.qos > 0 && !reach.may_drop && reach.bears;
        (is_judged && last < *newest && !self.gaps.iter().any(passes)).then(|| {
            format!("latest: {last} of {:?} came last to {:?}, after {newest}", reach.lane, reach.reader)
        })
    }

    /// Tells whether a place has ever forgotten something.
    pub(super) fn has_ever_forgotten(&self, place: Place, what: Forgot) -> bool {
        self.gaps.iter().any(|gap| gap.place == place && gap.forgot == what)
    }

    /// Tells whether something on the way has forgotten since a message was sent.
    fn has_forgotten(&self, reach: &Reach, what: Forgot, sent_at_ms: u64) -> bool {
        let is_meant = |gap: &Gap| gap.forgot == what && reach.places.contains(&gap.place);
        self.gaps.iter().any(|gap| is_meant(gap) && gap.until_ms >= sent_at_ms)
    }

    fn is_excused(&self, reach: &Reach, sent: &Sent, number: usize) -> bool {
        let is_taken =
            self.came.get(&(reach.reader, reach.lane)).is_some_and(|came| came.seen.contains(&number));
        let forgets = |gap: &Gap| match gap.forgot {
            Forgot::Messages => sent.at_ms <= gap.until_ms,
            Forgot::Order | Forgot::Unpromised => false,
        };
        is_taken || self.gaps.iter().any(|gap| reach.places.contains(&gap.place) && forgets(gap))
    }
}

#[cfg(test)]
mod tests;
