//! What a commit takes when there is one at a time, beside a plain append with `fdatasync`, in a directory that
//! is given. They alternate, so that both meet the same disk.
//!
//!     cargo run --release -p crosspoint-store --example latency -- DIRECTORY [COMMITS]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, thread};

use bytes::Bytes;
use crosspoint_store::{Batch, Directory, Options, Store};

const MESSAGE_BYTES: usize = 128;
/// Commits, and then plain appends, in a row.
const ROUND: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("a directory to measure in")?;
    let commits = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let path = Path::new(&folder).join("latency");
    let store = Store::open(Directory::open(&path)?, Options::default())?;
    let mut plain = File::create(path.join("plain"))?;
    for (what, pause) in [("at once", Duration::ZERO), ("after 100 us", Duration::from_micros(100))] {
        let (mut committed, mut appended) = (Vec::new(), Vec::new());
        let (mut commit_cpu, mut append_cpu) = (0.0, 0.0);
        for _ in 0..commits / ROUND {
            let before = cpu_seconds();
            for _ in 0..ROUND {
                rest(pause);
                committed.push(commit(&store)?);
            }
            let between = cpu_seconds();
            commit_cpu += between - before;
            for _ in 0..ROUND {
                rest(pause);
                appended.push(append(&mut plain)?);
            }
            append_cpu += cpu_seconds() - between;
        }
        println!(
            "next {what}: commit p50 {:.1} us, p99 {:.1} us; append and sync p50 {:.1} us, p99 {:.1} us; ratio {:.2}; CPU {:.1} us a commit, {:.1} us an append",
            percentile(&mut committed, 50),
            percentile(&mut committed, 99),
            percentile(&mut appended, 50),
            percentile(&mut appended, 99),
            percentile(&mut committed, 50) / percentile(&mut appended, 50),
            commit_cpu * 1e6 / commits as f64,
            append_cpu * 1e6 / commits as f64,
        );
    }
    drop(store);
    fs::remove_dir_all(&path)?;
    Ok(())
}

/// Waits as somebody does who waits for the network.
fn rest(pause: Duration) {
    if !pause.is_zero() {
        thread::sleep(pause);
    }
}

fn commit(store: &Store) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let mut batch = Batch::new();
    batch.publish(Bytes::from_static(&[1; MESSAGE_BYTES]), [(1, 0)]);
    store.commit(batch).wait()?;
    Ok(begun.elapsed())
}

fn append(plain: &mut File) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    plain.write_all(&[1; MESSAGE_BYTES])?;
    plain.sync_data()?;
    Ok(begun.elapsed())
}

fn percentile(durations: &mut [Duration], percent: usize) -> f64 {
    durations.sort_unstable();
    durations.get(durations.len() * percent / 100).map_or(0.0, |duration| duration.as_secs_f64() * 1e6)
}

/// Returns what the process has used of the CPUs, where the system says so in `/proc`.
fn cpu_seconds() -> f64 {
    let nanos = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(nanos).sum::<f64>() / 1e9
}
