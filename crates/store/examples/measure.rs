//! What the store costs: CPU a message, syncs a second, memory and disk, in a directory that is given.
//!
//!     cargo run --release -p crosspoint-store --example measure -- DIRECTORY [MESSAGES [WINDOW]]

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use bytes::Bytes;
use crosspoint_store::{Batch, Directory, Options, Store};

const MESSAGE_BYTES: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("a directory to measure in")?;
    let messages = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let only: Option<usize> = arguments.next().map(|text| text.parse()).transpose()?;
    let runs = [(1, messages / 50), (32, messages / 5), (256, messages), (1_000, messages)];
    for (window, messages) in runs.into_iter().filter(|(window, _)| only.is_none_or(|only| only == *window)) {
        let path = Path::new(&folder).join(format!("window-{window}"));
        let store = Store::open(Directory::open(&path)?, Options::default())?;
        fill(&store, window, messages)?;
        store.close();
        drop(store);
        let begun = Instant::now();
        let store = Store::open(Directory::open(&path)?, Options::default())?;
        println!("  opened in {:.0} ms, {} KiB resident", millis(begun.elapsed()), resident_kib());
        drain(&store, messages)?;
        drop(store);
        fs::remove_dir_all(&path)?;
    }
    Ok(())
}

/// Publishes with so many batches of one message each on their way.
fn fill(store: &Store, window: usize, messages: u64) -> Result<(), Box<dyn Error>> {
    let message = Bytes::from(vec![1; MESSAGE_BYTES]);
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut waiting = VecDeque::new();
    for _ in 0..messages {
        let mut batch = Batch::new();
        batch.publish(message.clone(), [(1, 0)]);
        waiting.push_back(store.commit(batch));
        if waiting.len() >= window
            && let Some(ticket) = waiting.pop_front()
        {
            ticket.wait()?;
        }
    }
    for ticket in waiting {
        ticket.wait()?;
    }
    let stats = store.stats();
    print("fill", window, messages, begun.elapsed(), cpu_seconds() - cpu);
    println!(
        "  {:.0} syncs/s, {:.4} syncs and {:.1} bytes of frames a message, {} KiB resident",
        stats.frames as f64 / begun.elapsed().as_secs_f64(),
        stats.frames as f64 / messages as f64,
        stats.frame_bytes as f64 / messages as f64,
        resident_kib(),
    );
    Ok(())
}

/// Reads everything and consumes it, 256 at a time.
fn drain(store: &Store, messages: u64) -> Result<(), Box<dyn Error>> {
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut from = 0;
    while from < messages {
        let entries = store.read(1, from, 256, 1 << 20).wait()?;
        from = entries.last().map(|entry| entry.position + 1).ok_or("a message is missing")?;
        store.consume(1, from);
    }
    print("drain", 256, messages, begun.elapsed(), cpu_seconds() - cpu);
    Ok(())
}

fn print(what: &str, window: usize, messages: u64, elapsed: Duration, cpu: f64) {
    println!(
        "{what}, window {window}: {:.0} messages/s, {:.2} us CPU a message",
        messages as f64 / elapsed.as_secs_f64(),
        cpu * 1e6 / messages as f64
    );
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Returns what the process has used of the CPUs, where the system says so in `/proc`, in steps of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}
