//! What a large store costs: a million table entries and 100,000 queues; commits and readers while checkpoints are
//! written, opening, and memory; in a directory that is given.
//!
//!     cargo run --release -p crosspoint-store --example large -- DIRECTORY [ENTRIES [QUEUES]]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bytes::Bytes;
use crosspoint_store::{Batch, Directory, Options, Store};

const VALUE_BYTES: usize = 200;
const MESSAGE_BYTES: usize = 128;
/// Changes of one batch while the store is filled.
const AT_ONCE: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("a directory to measure in")?;
    let entries = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let queues = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let path = Path::new(&folder).join("large");
    let Some(phase) = arguments.next() else {
        // Each in a process of its own, so that no memory is counted that an earlier one has left.
        for phase in ["fill", "busy", "open"] {
            let arguments = [folder.clone(), entries.to_string(), queues.to_string(), phase.to_owned()];
            Command::new(env::current_exe()?).args(arguments).status()?;
        }
        fs::remove_dir_all(&path)?;
        return Ok(());
    };
    let begun = Instant::now();
    let store = Store::open(Directory::open(&path)?, Options::default())?;
    let elapsed = millis(begun.elapsed());
    println!("{phase}: opened in {elapsed:.0} ms, {:.0} ms of it CPU, {}", cpu_millis(), memory());
    match phase.as_str() {
        "fill" => fill(&store, entries, queues),
        "busy" => busy(&store, entries, queues),
        _ => Ok(()),
    }
}

fn fill(store: &Store, entries: u64, queues: u64) -> Result<(), Box<dyn Error>> {
    for first in (0..entries).step_by(AT_ONCE as usize) {
        let mut batch = Batch::new();
        for number in first..entries.min(first + AT_ONCE) {
            batch.put(6, key(number), value(number));
        }
        store.commit(batch).wait()?;
    }
    for first in (0..queues).step_by(AT_ONCE as usize) {
        let mut batch = Batch::new();
        for number in first..queues.min(first + AT_ONCE) {
            batch.publish(Bytes::from(vec![1; MESSAGE_BYTES]), [(8 * number, 1)]);
        }
        store.commit(batch).wait()?;
    }
    println!("  {entries} entries, {queues} queues, {}", memory());
    Ok(())
}

/// Commits, one at a time, until two checkpoints were written, while somebody reads; and tells what both waited for.
fn busy(store: &Store, entries: u64, queues: u64) -> Result<(), Box<dyn Error>> {
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (store, is_over) = (store.clone(), Arc::clone(&is_over));
        move || read(&store, &is_over, entries, queues)
    });
    let begun = Instant::now();
    let before = store.stats().checkpoints;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut written = store.stats().checkpoint_bytes;
    let mut number = 0_u64;
    while store.stats().checkpoints < before + 2 && begun.elapsed() < Duration::from_secs(120) {
        let begun = Instant::now();
        let mut batch = Batch::new();
        // Large ones, so that the log grows as fast as a busy store's.
        for _ in 0..64 {
            number += 7_919;
            batch.put(6, key(number % entries), value(number));
            batch.publish(Bytes::from(vec![2; 8 * MESSAGE_BYTES]), [(8 * (number % queues), 1)]);
        }
        store.commit(batch).wait()?;
        let is_beside = std::mem::replace(&mut written, store.stats().checkpoint_bytes) != written;
        if is_beside { &mut beside } else { &mut alone }.push(begun.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    let mut reads = reader.join().map_err(|_| "the reader failed")?;
    let stats = store.stats();
    println!(
        "  {} checkpoints in {:.1} s, {}",
        stats.checkpoints - before,
        begun.elapsed().as_secs_f64(),
        memory()
    );
    tell("commits alone", &mut alone);
    tell("commits beside a checkpoint", &mut beside);
    tell("reads", &mut reads);
    Ok(())
}

/// Looks up an entry and a queue every now and then; returns how long each took.
fn read(store: &Store, is_over: &AtomicBool, entries: u64, queues: u64) -> Vec<Duration> {
    let mut durations = Vec::new();
    let mut number = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        number += 104_729;
        let begun = Instant::now();
        let _ = store.value(6, &key(number % entries));
        let _ = store.queue_status(8 * (number % queues));
        durations.push(begun.elapsed());
        thread::sleep(Duration::from_micros(200));
    }
    durations
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("plant/line{}/sensor/{number}", number % 100))
}

fn value(number: u64) -> Bytes {
    let mut value = vec![7; VALUE_BYTES];
    value.iter_mut().zip(number.to_le_bytes()).for_each(|(place, byte)| *place = byte);
    Bytes::from(value)
}

fn tell(what: &str, durations: &mut [Duration]) {
    durations.sort_unstable();
    let at = |part: f64| {
        let index = (durations.len() as f64 * part) as usize;
        durations.get(index.min(durations.len().saturating_sub(1))).map_or(0.0, |duration| millis(*duration))
    };
    println!(
        "  {} {what}: p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, longest {:.3} ms",
        durations.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Returns what the first thread has used of the CPUs, where the system says so in `/proc`.
fn cpu_millis() -> f64 {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) / 1_024
    };
    format!("{} MiB resident, {} MiB at most", of("VmRSS:"), of("VmHWM:"))
}
