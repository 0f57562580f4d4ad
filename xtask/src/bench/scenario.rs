//! What is measured.

/// One load, and what Crosspoint has to reach in it.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What is done before, unmeasured.
    pub(crate) before: &'static [Step],
    /// The generator's subcommand and arguments.
    pub(crate) load: &'static str,
    pub(crate) qos: u8,
    /// Whether the brokers are to keep what they have acknowledged.
    pub(crate) keeps: bool,
    pub(crate) demands: &'static [Demand],
}

/// Something that is done before a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Run the generator with these arguments.
    Load(&'static str),
    /// Leave the session of a client behind that wants everything at QoS 1. The generator cannot do that beside its own
    /// subscribers, whose identifiers it would take.
    LeaveSession,
}

/// What is demanded of one of our figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) figure: Figure,
    pub(crate) bound: Bound,
}

/// A bound of a figure: by itself, or as a ratio to a peer's in the same run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Most(f64),
    MostTimes(f64, &'static str),
    LeastTimes(f64, &'static str),
}

/// Which figure of a report counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Microseconds of the broker's CPU for each delivered (or, where nobody receives, acknowledged) message.
    CpuPerMessage,
    /// Messages delivered, or acknowledged where nobody receives, in a second.
    MessagesPerSecond,
    /// Commits of our broker for each delivered message; each is one sync.
    SyncsPerMessage,
    /// KiB of the broker's memory for each idle connection.
    MemoryPerConnection,
}

/// The broker that most demands refer to.
const MOSQUITTO: &str = "mosquitto";

/// Our own broker, whose figures are judged.
pub(crate) const OWN: &str = "crosspoint";

/// Our own broker, told to keep nothing on disk.
pub(crate) const OWN_IN_MEMORY: &str = "crosspoint-memory";

const fn cpu(bound: Bound) -> Demand {
    Demand { figure: Figure::CpuPerMessage, bound }
}

const FOUR_TENTHS: &[Demand] = &[cpu(Bound::MostTimes(0.4, MOSQUITTO))];

/// What is asked of a broker that keeps what it has acknowledged: twice the rate at four tenths of the CPU.
const DURABLE: &[Demand] = &[
    cpu(Bound::MostTimes(0.4, MOSQUITTO)),
    Demand { figure: Figure::MessagesPerSecond, bound: Bound::LeastTimes(2.0, MOSQUITTO) },
];

const fn messages(name: &'static str, qos: u8, load: &'static str, demands: &'static [Demand]) -> Scenario {
    Scenario { name, before: &[], load, qos, keeps: false, demands }
}

/// Leaves a session behind that wants everything.
const PREPARE: Step = Step::Load("durable --qos 1 -n 1 --phase prepare");
const FILL: &str = "durable --qos 1 -n 1 --phase fill --count 300000 --window 1000";
const DRAIN: &str = "durable --qos 1 -n 1 --phase drain --count 300000";

/// Every scenario, in the order of the table.
pub(crate) const SCENARIOS: &[Scenario] = &[
    messages("pairs-qos0", 0, "pairs -n 50 --window 32 --qos 0 --count 1000000 --warmup 100000", FOUR_TENTHS),
    messages("pairs-qos1", 1, "pairs -n 50 --window 32 --qos 1 --count 400000 --warmup 40000", FOUR_TENTHS),
    messages("pairs-qos2", 2, "pairs -n 50 --window 32 --qos 2 --count 200000 --warmup 20000", FOUR_TENTHS),
    messages(
        "fan-in-qos0",
        0,
        "fan-in -n 100 --window 16 --qos 0 --count 1000000 --warmup 100000",
        FOUR_TENTHS,
    ),
    messages(
        "fan-in-qos1",
        1,
        "fan-in -n 100 --window 16 --qos 1 --count 400000 --warmup 40000",
        FOUR_TENTHS,
    ),
    messages(
        "fan-in-qos2",
        2,
        "fan-in -n 100 --window 16 --qos 2 --count 200000 --warmup 20000",
        FOUR_TENTHS,
    ),
    messages("fan-out-qos0", 0, "fan-out -n 1000 --window 4 --qos 0 --count 1000 --warmup 100", FOUR_TENTHS),
    messages("fan-out-qos1", 1, "fan-out -n 1000 --window 4 --qos 1 --count 400 --warmup 40", FOUR_TENTHS),
    messages("fan-out-qos2", 2, "fan-out -n 1000 --window 4 --qos 2 --count 200 --warmup 20", FOUR_TENTHS),
    messages(
        "pairs-16k",
        0,
        "pairs -n 50 --window 8 --qos 0 --payload 16384 --count 100000 --warmup 10000",
        &[],
    ),
    messages("lone-qos0", 0, "pairs -n 50 --window 1 --qos 0 --count 300000 --warmup 30000", &[]),
    messages("lone-qos1", 1, "pairs -n 50 --window 1 --qos 1 --count 150000 --warmup 15000", &[]),
    messages("latency-qos1", 1, "pairs -n 50 --qos 1 --rate 2000 --count 6000 --warmup 600", &[]),
    Scenario { name: "durable-fill", before: &[PREPARE], load: FILL, qos: 1, keeps: true, demands: DURABLE },
    Scenario {
        name: "durable-drain",
        before: &[PREPARE, Step::Load(FILL)],
        load: DRAIN,
        qos: 1,
        keeps: true,
        demands: DURABLE,
    },
    Scenario {
        // Each message goes to its online subscriber and into the queue of a session that is away.
        name: "durable-pairs",
        before: &[Step::LeaveSession],
        load: "pairs -n 256 --window 32 --qos 1 --count 600000 --warmup 60000",
        qos: 1,
        keeps: true,
        demands: &[
            cpu(Bound::MostTimes(1.6, OWN_IN_MEMORY)),
            Demand { figure: Figure::SyncsPerMessage, bound: Bound::Most(0.02) },
        ],
    },
    Scenario {
        name: "idle-connections",
        before: &[],
        load: "connect-storm -n 10000 --window 64 --hold 1",
        qos: 0,
        keeps: false,
        demands: &[Demand { figure: Figure::MemoryPerConnection, bound: Bound::Most(4.0) }],
    },
];

impl Scenario {
    /// Returns the figure by which brokers are compared.
    pub(crate) fn figure(&self) -> Figure {
        self.demands.first().map_or(Figure::CpuPerMessage, |demand| demand.figure)
    }

    /// Tells whether a figure is asked for.
    pub(crate) fn asks_for(&self, figure: Figure) -> bool {
        self.demands.iter().any(|demand| demand.figure == figure)
    }

    /// Tells whether a peer's figures are asked for.
    pub(crate) fn refers_to(&self, peer: &str) -> bool {
        self.demands.iter().any(|demand| match demand.bound {
            Bound::Most(_) => false,
            Bound::MostTimes(_, other) | Bound::LeastTimes(_, other) => other == peer,
        })
    }

    /// Returns how many connections the load opens, for figures that are shared out among them.
    pub(crate) fn connections(&self) -> f64 {
        let mut words = self.load.split_whitespace();
        let count = words.find(|word| *word == "-n").and_then(|_| words.next());
        count.and_then(|count| count.parse().ok()).unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_connections_is_read_from_the_load() {
        let storm = SCENARIOS.iter().find(|scenario| scenario.name == "idle-connections").unwrap();
        assert_eq!(storm.connections(), 10_000.0);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
