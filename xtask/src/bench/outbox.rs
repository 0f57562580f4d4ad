//! A long outage: a million messages wait in an outbox, then their broker comes back.
//!
//! Both brokers are mosquitto and share a core with the generator; the hub has the other one.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::peer::Peer;
use super::running::{self, Core, Running, Tools};
use crate::{Outcome, process};

const NAME: &str = "outbox-million";

const MESSAGES: u64 = 1_000_000;

const FILL: &str = "durable --qos 1 -n 1 --phase fill --count 1000000 --window 1000 --max-seconds 300";

/// A few messages, to see whether the hub has connected and subscribed.
const PROBE: &str = "durable --qos 1 -n 1 --phase fill --count 10 --window 10";

/// How long the hub may take for anything that is waited for.
const DEADLINE: Duration = Duration::from_secs(300);

/// The most that may be written for a message: its PUBLISH (topic of 6 bytes, payload of 64) and 64 bytes, 2.5 times.
const WRITTEN_BYTES_MAX: f64 = 2.5 * (2.0 + 2.0 + 6.0 + 2.0 + 64.0 + 64.0);

/// How much slower the last third may drain than the first.
const RATE_RATIO_MIN: f64 = 0.8;

/// How much memory draining may add, in KiB.
const GROWTH_KIB_MAX: i64 = 32 * 1024;

/// What one round found.
#[derive(Clone, Debug)]
struct Round {
    written_bytes: f64,
    first_third_per_s: f64,
    last_third_per_s: f64,
    memory_kib: (i64, i64),
}

/// What the rounds found.
#[derive(Debug, Default)]
pub(crate) struct Million(Vec<Round>);

impl Million {
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
        let sink_port = running::free_port()?;
        let project = format!(
            "[connector.source]\nurl = \"mqtt://127.0.0.1:{}\"\n\
             [connector.sink]\nurl = \"mqtt://127.0.0.1:{sink_port}\"\nreconnect_max_ms = 1000\n\
             [flow.over]\nfrom = {{ connector = \"source\", topics = [\"load/#\"], qos = 1 }}\n\
             to = [{{ connector = \"sink\", qos = 1 }}]\n",
            source.port
        );
        let hub = Running::start(own, &project, Core::Measured)?;
        let hub = Hub { process: hub.process_id()?, data: own.folder().join("data"), own, _running: hub };
        let before = hub.wait_until_it_takes(tools, &source)?;
        let written = hub.written_bytes()?;
        tools.load(FILL, source.port, hub.process)?;
        hub.wait_for("the messages wait in the outbox", |waiting| waiting >= before + MESSAGES)?;
        let written = hub.written_bytes()? - written;
        let _sink = Running::start_at(ends, "", Core::Generator, sink_port)?;
        self.0.push(hub.watch_it_drain(written as f64 / MESSAGES as f64)?);
        Ok(())
    }

    /// Prints the line, and says what is demanded and not met.
    pub(crate) fn verdict(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for round in &self.0 {
            let Round { written_bytes, first_third_per_s, last_third_per_s, memory_kib } = round;
            println!(
                "\n{NAME}: {written_bytes:.0} bytes written for a message, at most {WRITTEN_BYTES_MAX:.0}; drained at {first_third_per_s:.0} \
                 messages a second at first, {last_third_per_s:.0} at the end; memory {} to {} KiB",
                memory_kib.0, memory_kib.1
            );
            missed.extend(round.missed().map(|missed| format!("{NAME}: {missed}")));
        }
        missed
    }
}

impl Round {
    fn missed(&self) -> impl Iterator<Item = &'static str> {
        let growth_kib = self.memory_kib.1 - self.memory_kib.0;
        let checks = [
            (self.written_bytes < WRITTEN_BYTES_MAX, "more is written for a message"),
            (
                self.last_third_per_s >= RATE_RATIO_MIN * self.first_third_per_s,
                "it drains slower as it shrinks",
            ),
            (growth_kib <= GROWTH_KIB_MAX, "draining takes memory"),
        ];
        checks.into_iter().filter(|(is_met, _)| !is_met).map(|(_, missed)| missed)
    }
}

/// The hub that is watched.
struct Hub<'a> {
    process: u32,
    data: PathBuf,
    own: &'a Peer,
    _running: Running,
}

impl Hub<'_> {
    fn wait_until_it_takes(&self, tools: &Tools, source: &Running) -> Outcome<u64> {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            tools.load(PROBE, source.port, self.process)?;
            let waiting = self.waiting()?;
            if waiting > 0 {
                // More of the probes may still be coming; a million come behind them.
                return Ok(waiting);
            }
        }
        Err("the hub does not take messages".into())
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(u64) -> bool) -> Outcome {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            if is_so(self.waiting()?) {
                return Ok(());
            }
        }
        Err(format!("not in time: {what}").into())
    }

    fn watch_it_drain(&self, written_bytes: f64) -> Outcome<Round> {
        let begun = Instant::now();
        let mut looks: Vec<(f64, u64)> = Vec::new();
        let (mut least_kib, mut most_kib) = (i64::MAX, 0);
        while begun.elapsed() < DEADLINE {
            let waiting = self.waiting()?;
            looks.push((begun.elapsed().as_secs_f64(), waiting));
            if waiting < MESSAGES {
                let kib = self.memory_kib()?;
                (least_kib, most_kib) = (least_kib.min(kib), most_kib.max(kib));
            }
            if waiting == 0 {
                let rate =
                    |from: u64, to: u64| rate_between(&looks, from, to).ok_or("it drained too fast to see");
                return Ok(Round {
                    written_bytes,
                    first_third_per_s: rate(MESSAGES, MESSAGES * 2 / 3)?,
                    last_third_per_s: rate(MESSAGES / 3, 0)?,
                    memory_kib: (least_kib, most_kib),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the outbox does not drain".into())
    }

    fn waiting(&self) -> Outcome<u64> {
        let mut command = Command::new(self.own.program());
        let text = process::read(command.args(["outbox", "list", "--json", "--data"]).arg(&self.data))?;
        let rows: Value = serde_json::from_str(&text)?;
        let rows = rows.as_array().ok_or("no list of outboxes")?;
        let sink = rows.iter().find(|row| row.get("connector").and_then(Value::as_str) == Some("sink"));
        Ok(sink.and_then(|row| row.get("waiting")).and_then(Value::as_u64).ok_or("no outbox of the sink")?)
    }

    /// Returns what the process has caused to be written to disks.
    fn written_bytes(&self) -> Outcome<u64> {
        figure_of(&std::fs::read_to_string(format!("/proc/{}/io", self.process))?, "write_bytes:")
    }

    fn memory_kib(&self) -> Outcome<i64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process))?;
        Ok(i64::try_from(figure_of(&text, "VmRSS:")?)?)
    }
}

fn figure_of(text: &str, key: &str) -> Outcome<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| format!("no {key}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Returns how many messages went in a second between two fillings, or `None` if it was not seen.
fn rate_between(looks: &[(f64, u64)], from: u64, to: u64) -> Option<f64> {
    let begin = looks.iter().find(|(_, waiting)| *waiting < from)?;
    let end = looks.iter().find(|(_, waiting)| *waiting <= to)?;
    let seconds = end.0 - begin.0;
    (seconds > 0.0).then(|| begin.1.saturating_sub(end.1) as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_between_the_first_looks_beyond_each_filling() {
        let looks = [(0.0, 1_000), (1.0, 900), (2.0, 700), (3.0, 300), (4.0, 0)];
        assert_eq!(rate_between(&looks, 1_000, 700), Some(200.0));
        assert_eq!(rate_between(&looks, 400, 0), Some(300.0));
        assert_eq!(rate_between(&looks, 1_000, 950), None);
    }

    #[test]
    fn what_slows_down_grows_or_writes_too_much_is_told() {
        let good = Round {
            written_bytes: 300.0,
            first_third_per_s: 100.0,
            last_third_per_s: 90.0,
            memory_kib: (10_000, 12_000),
        };
        assert_eq!(good.missed().count(), 0);
        let bad = Round { last_third_per_s: 79.0, memory_kib: (0, 40_000), written_bytes: 351.0, ..good };
        assert_eq!(bad.missed().count(), 3);
    }

    #[test]
    fn a_figure_is_read_from_what_the_system_says() {
        assert_eq!(figure_of("rchar: 1\nwrite_bytes: 4096\n", "write_bytes:").unwrap(), 4_096);
        assert!(figure_of("VmSize: 1 kB", "VmRSS:").is_err());
    }
}
