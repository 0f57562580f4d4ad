//! The hub between two brokers: what it costs to take a message from one, keep it on disk, and give it to the other.
//!
//! The hub has a core of its own; both brokers, which are mosquitto, share the other one with the generator.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::peer::Peer;
use super::running::{self, Core, Running, Tools};
use crate::Outcome;

/// What an echo client on rumqttc 0.25 needs for a message, storing nothing, in microseconds of CPU.
const ECHO_CLIENT_US: f64 = 20.0;

const NAME: &str = "forward-qos1";

const LOAD: &str = "pairs -n 10 --window 20 --count 200000 --warmup 20000 --max-seconds 120";

/// A few messages, to see whether the hub has connected and subscribed.
const PROBE: &str = "pairs -n 1 --window 1 --count 5 --stall 0.5";

/// How long the hub may take for that.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// What the rounds found.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    cpu_us: Vec<f64>,
    messages_per_s: Vec<f64>,
    faults: Vec<String>,
}

impl Forward {
    /// Tells whether a part of a scenario's name asks for this line too.
    pub(crate) fn is_wanted(part: &str) -> bool {
        NAME.contains(part)
    }

    /// Measures one round, if there is a broker to stand at both ends.
    pub(crate) fn measure(&mut self, peers: &[Peer], tools: &Tools) -> Outcome {
        let find = |name: &str| peers.iter().find(|peer| peer.name == name);
        let (Some(own), Some(ends)) = (find("crosspoint"), find("mosquitto")) else { return Ok(()) };
        own.clear()?;
        let source = Running::start(ends, "", Core::Generator)?;
        let sink = Running::start(ends, "", Core::Generator)?;
        let connector = |name: &str, end: &Running| {
            format!("[connector.{name}]\nurl = \"mqtt://127.0.0.1:{}\"\n", end.port)
        };
        let flow = "[flow.over]\nfrom = { connector = \"source\", topics = [\"a/#\"], qos = 1 }\n\
            to = [{ connector = \"sink\", topic = \"b/{topic[1..]}\", qos = 1 }]\n";
        let project = format!("{}{}{flow}", connector("source", &source), connector("sink", &sink));
        let hub = Running::start(own, &project, Core::Measured)?;
        let run = |load: &str| {
            let load = format!("{load} --qos 1 --topic a --sub-topic b --sub-addr 127.0.0.1:{}", sink.port);
            running::report(&tools.load(&load, source.port, hub.process_id()?)?)
        };
        wait_until_through(&run)?;
        let report = run(LOAD)?;
        self.cpu_us.extend(report.get("broker_cpu_us_per_msg").and_then(Value::as_f64));
        self.messages_per_s.extend(report.get("msgs_per_s").and_then(Value::as_f64));
        let faults = super::table::faults(std::slice::from_ref(&report));
        self.faults.extend((faults != "none").then_some(faults));
        Ok(())
    }

    /// Prints the line, and says what is demanded and not met.
    pub(crate) fn verdict(&self) -> Option<String> {
        let middle = |values: &[f64]| super::table::median(values.iter().copied());
        let (cpu_us, rate) = (middle(&self.cpu_us)?, middle(&self.messages_per_s)?);
        println!(
            "\n{NAME}: {cpu_us:.1} us of the hub's CPU for a message, {rate:.0} messages a second; a client that \
             stores nothing needs {ECHO_CLIENT_US:.0} us"
        );
        if let Some(faults) = self.faults.first() {
            return Some(format!("{NAME}: faults in delivery: {faults}"));
        }
        (cpu_us >= ECHO_CLIENT_US)
            .then(|| format!("{NAME}: {cpu_us:.1} us, less than {ECHO_CLIENT_US:.0} us is demanded"))
    }
}

fn wait_until_through(run: &dyn Fn(&str) -> Outcome<Value>) -> Outcome {
    let begun = Instant::now();
    while begun.elapsed() < CONNECT_DEADLINE {
        if run(PROBE)?.get("lost").and_then(Value::as_u64) == Some(0) {
            return Ok(());
        }
    }
    Err("the hub does not forward".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_hub_and_one_that_loses_messages_are_told() {
        let forward = |cpu_us, faults: &[&str]| Forward {
            cpu_us: vec![cpu_us],
            messages_per_s: vec![1.0],
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
        };
        assert_eq!(forward(19.9, &[]).verdict(), None);
        assert!(forward(20.0, &[]).verdict().is_some());
        assert!(forward(1.0, &["lost 1"]).verdict().unwrap().contains("lost 1"));
        assert_eq!(Forward::default().verdict(), None);
    }
}
