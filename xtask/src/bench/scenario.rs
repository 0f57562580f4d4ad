//! What is measured.

/// One load, and what Crosspoint has to reach in it.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The generator's subcommand and arguments.
    pub(crate) load: &'static str,
    pub(crate) qos: u8,
    pub(crate) figure: Figure,
    /// The largest ratio to mosquitto's figure that is accepted, or none.
    pub(crate) ratio_max: Option<f64>,
    /// The largest figure that is accepted whatever others need, or none.
    pub(crate) figure_max: Option<f64>,
}

/// Which figure of a report counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Microseconds of the broker's CPU for each delivered message.
    CpuPerMessage,
    /// KiB of the broker's memory for each idle connection.
    MemoryPerConnection,
}

const fn messages(name: &'static str, qos: u8, load: &'static str, ratio_max: Option<f64>) -> Scenario {
    Scenario { name, load, qos, figure: Figure::CpuPerMessage, ratio_max, figure_max: None }
}

/// Every scenario, in the order of the table.
pub(crate) const SCENARIOS: &[Scenario] = &[
    messages("pairs-qos0", 0, "pairs -n 50 --window 32 --qos 0 --count 1000000 --warmup 100000", Some(0.4)),
    messages("pairs-qos1", 1, "pairs -n 50 --window 32 --qos 1 --count 400000 --warmup 40000", Some(0.4)),
    messages("pairs-qos2", 2, "pairs -n 50 --window 32 --qos 2 --count 200000 --warmup 20000", Some(0.4)),
    messages(
        "fan-in-qos0",
        0,
        "fan-in -n 100 --window 16 --qos 0 --count 1000000 --warmup 100000",
        Some(0.4),
    ),
    messages("fan-in-qos1", 1, "fan-in -n 100 --window 16 --qos 1 --count 400000 --warmup 40000", Some(0.4)),
    messages("fan-in-qos2", 2, "fan-in -n 100 --window 16 --qos 2 --count 200000 --warmup 20000", Some(0.4)),
    messages("fan-out-qos0", 0, "fan-out -n 1000 --window 4 --qos 0 --count 1000 --warmup 100", Some(0.4)),
    messages("fan-out-qos1", 1, "fan-out -n 1000 --window 4 --qos 1 --count 400 --warmup 40", Some(0.4)),
    messages("fan-out-qos2", 2, "fan-out -n 1000 --window 4 --qos 2 --count 200 --warmup 20", Some(0.4)),
    messages(
        "pairs-16k",
        0,
        "pairs -n 50 --window 8 --qos 0 --payload 16384 --count 100000 --warmup 10000",
        None,
    ),
    messages("lone-qos0", 0, "pairs -n 50 --window 1 --qos 0 --count 300000 --warmup 30000", None),
    messages("lone-qos1", 1, "pairs -n 50 --window 1 --qos 1 --count 150000 --warmup 15000", None),
    messages("latency-qos1", 1, "pairs -n 50 --qos 1 --rate 2000 --count 6000 --warmup 600", None),
    Scenario {
        name: "idle-connections",
        load: "connect-storm -n 10000 --window 64 --hold 1",
        qos: 0,
        figure: Figure::MemoryPerConnection,
        ratio_max: None,
        figure_max: Some(4.0),
    },
];

impl Scenario {
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
