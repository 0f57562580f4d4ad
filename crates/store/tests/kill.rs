//! A store in a process that is killed at any moment: what it said was acknowledged is there, in order, and whole.
//!
//! The test starts itself again as the process that is killed. It writes numbered batches at several windows, and the
//! number of each that was acknowledged into a pipe.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use bytes::Bytes;
use crosspoint_store::{
    Batch, Committed, Directory, Options, Store, Ticket, salvage_directory, verify_directory,
};
use fastrand::Rng;

const SEED: u64 = 7;
const ROUNDS: u32 = 24;
const QUEUE: u64 = 1;
/// The queue that gets every tenth message, and of which nothing is consumed.
const SLOW_QUEUE: u64 = 2;
const TABLE: u32 = 3;
/// Messages that wait in the queue before the process consumes some.
const WAITING: u64 = 700;
/// A round that takes longer has failed.
const ROUND_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &*arguments {
        [role, path, seed, acknowledged] if role == "write" => {
            write(Path::new(path), seed.parse()?, acknowledged.parse()?)
        }
        _ => kill_and_look(),
    }
}

fn options() -> Options {
    // Small, so that each round sees new segments, checkpoints and removals.
    Options::new()
        .segment_bytes(64 << 10)
        .frame_bytes(16 << 10)
        .reserve_bytes(1 << 20)
        .consume_delay(Duration::from_millis(5))
        .written_delay(Duration::from_millis(20))
}

/// The process that is killed: commits from a number on, until it ends.
fn write(path: &Path, seed: u64, first: u64) -> Result<(), Box<dyn Error>> {
    let mut rng = Rng::with_seed(seed);
    let store = Store::open(Directory::open(path)?, options())?;
    let window = *rng.choice(&[1, 4, 32, 256]).ok_or("no window")?;
    let mut out = io::stdout();
    let mut waiting: VecDeque<(u64, Ticket<Committed>)> = VecDeque::new();
    for number in first.. {
        waiting.push_back((number, store.commit(batch(number, &mut rng))));
        if number.is_multiple_of(50) {
            store.consume(QUEUE, number.saturating_sub(WAITING));
        }
        if waiting.len() >= window
            && let Some((number, ticket)) = waiting.pop_front()
        {
            ticket.wait()?;
            out.write_all(&number.to_le_bytes())?;
        }
    }
    Ok(())
}

fn batch(number: u64, rng: &mut Rng) -> Batch {
    let mut batch = Batch::new();
    let slow = number.is_multiple_of(10).then_some((SLOW_QUEUE, 0));
    batch.publish(message(number), [(QUEUE, number as u8)].into_iter().chain(slow));
    batch.put(TABLE, Bytes::from_static(b"last"), Bytes::copy_from_slice(&number.to_le_bytes()));
    batch.put(TABLE, Bytes::from(vec![number as u8]), message(number));
    if rng.u8(0..3) == 0 {
        batch.written();
    }
    batch
}

/// Returns a message that tells its number, of a size and contents that follow from it.
fn message(number: u64) -> Bytes {
    let mut rng = Rng::with_seed(number);
    let mut message = number.to_le_bytes().to_vec();
    message.extend((0..rng.usize(0..300)).map(|_| rng.u8(..)));
    Bytes::from(message)
}

fn kill_and_look() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let mut rng = Rng::with_seed(SEED);
    let (mut next, mut acknowledged) = (0, 0);
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let told = run_and_kill(&path, &mut rng, next)?;
        acknowledged += told.map_or(0, |last| last + 1 - next);
        next = look(&path, told).map_err(|error| format!("seed {SEED}, round {round}: {error}"))?;
    }
    let report = verify_directory(&path)?;
    assert!(report.damages.is_empty(), "{report:?}");
    let saved = salvage_directory(&path, folder.path().join("copy"), options())?;
    assert_eq!(saved.messages_lost, 0);
    assert_eq!(look(&folder.path().join("copy"), None)?, next, "a copy holds the same");
    assert!(acknowledged > 2_000, "too little was acknowledged for a test: {acknowledged}");
    println!(
        "killed {ROUNDS} times in {:.1} s: {acknowledged} acknowledged, 0 lost",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Starts a process and kills it at some moment; returns the last number that it told.
fn run_and_kill(path: &Path, rng: &mut Rng, next: u64) -> Result<Option<u64>, Box<dyn Error>> {
    let mut child = Command::new(env::current_exe()?)
        .args(["write", path.to_str().ok_or("a path that is no text")?])
        .args([rng.u64(..).to_string(), next.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let mut last = None;
    // Some are killed while they open the store.
    if rng.u8(0..6) > 0 {
        let begun = Instant::now();
        for _ in 0..rng.u64(1..1_500) {
            last = Some(read_number(&mut told)?.ok_or("the process has ended by itself")?);
            assert!(begun.elapsed() < ROUND_MAX, "it commits too slowly");
        }
        refuses_others(path, &child)?;
    }
    let (begun, moment) = (Instant::now(), Duration::from_micros(rng.u64(0..3_000)));
    while begun.elapsed() < moment {
        thread::yield_now();
    }
    child.kill()?;
    child.wait()?;
    // What it had told before is still in the pipe.
    while let Some(number) = read_number(&mut told)? {
        last = Some(number);
    }
    Ok(last)
}

/// Reads a number; `None` at the end, also if it is cut short.
fn read_number(told: &mut BufReader<ChildStdout>) -> io::Result<Option<u64>> {
    let mut number = [0; 8];
    if told.fill_buf()?.is_empty() {
        return Ok(None);
    }
    match told.read_exact(&mut number) {
        Ok(()) => Ok(Some(u64::from_le_bytes(number))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nobody else may open, look through, or save a store that is in use, and is told by whom.
fn refuses_others(path: &Path, child: &Child) -> Result<(), Box<dyn Error>> {
    let expected = format!("the store is in use by process {}", child.id());
    let copy = path.with_file_name("refused");
    let refusals = [
        Directory::open(path).err().map(|error| error.to_string()),
        verify_directory(path).err().map(|error| error.to_string()),
        salvage_directory(path, &copy, options()).err().map(|error| error.to_string()),
    ];
    assert!(refusals.iter().all(|refusal| refusal.as_ref() == Some(&expected)), "{refusals:?}");
    assert!(!copy.exists(), "nothing is made before it is refused");
    Ok(())
}

/// Opens the store and checks what it holds; returns the number that comes next.
fn look(path: &Path, told: Option<u64>) -> Result<u64, Box<dyn Error>> {
    let report = verify_directory(path);
    let report = match report {
        Ok(report) => report,
        // Killed before it had made anything.
        Err(_) if told.is_none() => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    if !report.damages.is_empty() {
        return Err(format!("{report:?}").into());
    }
    let store = Store::open(Directory::open(path)?, options())?;
    let numbers = numbers(&store, QUEUE)?;
    let next = numbers.last().map_or(0, |last| last + 1);
    if told.is_some_and(|told| told >= next) {
        return Err(format!("{told:?} was acknowledged, and {next} is the next").into());
    }
    let first = numbers.first().copied().unwrap_or(0);
    if !numbers.iter().copied().eq(first..next) {
        return Err(format!("out of order, or not whole: {numbers:?}").into());
    }
    let last = store.value(TABLE, b"last").map(|value| value.to_vec());
    if last != next.checked_sub(1).map(|last| last.to_le_bytes().to_vec()) {
        return Err(format!("the table ends with {last:?}, the queue before {next}").into());
    }
    let slow = self::numbers(&store, SLOW_QUEUE)?;
    if !slow.iter().copied().eq((0..next).step_by(10)) {
        return Err(format!("the slow queue holds {slow:?}").into());
    }
    Ok(next)
}

/// Returns the numbers of what waits in a queue, each of which is whole.
fn numbers(store: &Store, queue: u64) -> Result<Vec<u64>, Box<dyn Error>> {
    let mut numbers = Vec::new();
    let mut from = 0;
    loop {
        let entries = store.read(queue, from, 500, usize::MAX).wait()?;
        let Some(last) = entries.last() else { return Ok(numbers) };
        from = last.position + 1;
        for entry in &entries {
            let number = entry.message.first_chunk().map(|number| u64::from_le_bytes(*number));
            let number = number.ok_or("a message without a number")?;
            if entry.message != message(number) {
                return Err(format!("message {number} is not what was written").into());
            }
            numbers.push(number);
        }
    }
}
