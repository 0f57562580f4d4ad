//! Inputs for fuzz functions, made from a corpus by small seeded changes.
//!
//! There is no feedback from coverage: the same seed and the same corpus always give the same input, so a failure is
//! told by its seed alone. cargo-fuzz, with feedback, runs the same functions where a nightly toolchain is at hand.

use fastrand::Rng;

/// The most changes made to one input; few keep it near what a decoder accepts, many get it far away.
const CHANGES_MAX: usize = 8;

/// The longest run of bytes that one change inserts or repeats.
const RUN_BYTES_MAX: usize = 64;

/// The longest input that is made, in bytes.
pub const INPUT_BYTES_MAX: usize = 4096;

/// Bytes at which decoders decide: ends of ranges, continuation bits, separators and wildcards of topics, packet types
/// with their usual flags.
const TELLING_BYTES: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x7f, 0x80, 0x81, 0xfe, 0xff, b'/', b'+', b'#', b'$', b'M', 0x10,
    0x20, 0x30, 0x32, 0x34, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xa2, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0,
    0xc3, 0xed, 0xef,
];

/// Runs of bytes that mean something to an MQTT decoder: longest and overlong variable integers, lengths beyond the
/// end, ill-formed UTF-8, the protocol names.
const TELLING_RUNS: &[&[u8]] = &[
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x00],
    &[0xff, 0xff],
    &[0x00, 0x00],
    &[0xed, 0xa0, 0x80],
    &[0xc0, 0x80],
    &[0xf4, 0x90, 0x80, 0x80],
    &[0xef, 0xbb, 0xbf],
    b"\x00\x04MQTT\x05",
    b"\x00\x04MQTT\x04",
    b"\x00\x06MQIsdp\x03",
    b"$share/g/",
    b"$SYS/",
    b"////////",
];

/// Makes the input that a seed stands for: a member of the corpus with one to eight small changes.
///
/// Every seed gives an input, also with an empty corpus, and none is longer than [`INPUT_BYTES_MAX`].
pub fn mutate(seed: u64, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let mut input = rng.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=CHANGES_MAX) {
        change(&mut rng, &mut input, corpus);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    match rng.u8(0..10) {
        0 => flip_bit(rng, input),
        1 => overwrite(rng, input),
        2 => step_byte(rng, input),
        3 => insert_telling_run(rng, input),
        4 => insert_noise(rng, input),
        5 => remove_range(rng, input),
        6 => repeat_range(rng, input),
        7 => input.truncate(rng.usize(0..=input.len())),
        8 => append_other(rng, input, corpus),
        _ => splice_other(rng, input, corpus),
    }
}

fn flip_bit(rng: &mut Rng, input: &mut [u8]) {
    if let Some(byte) = any_byte(rng, input) {
        *byte ^= 1 << rng.u8(0..8);
    }
}

fn overwrite(rng: &mut Rng, input: &mut [u8]) {
    let telling = rng.choice(TELLING_BYTES).copied().unwrap_or_default();
    let value = if rng.bool() { telling } else { rng.u8(..) };
    if let Some(byte) = any_byte(rng, input) {
        *byte = value;
    }
}

/// Moves a byte a little up or down: what breaks a length by a few.
fn step_byte(rng: &mut Rng, input: &mut [u8]) {
    let step = rng.i8(-4..=4);
    if let Some(byte) = any_byte(rng, input) {
        *byte = byte.wrapping_add_signed(step);
    }
}

fn insert_telling_run(rng: &mut Rng, input: &mut Vec<u8>) {
    let run = rng.choice(TELLING_RUNS).copied().unwrap_or_default();
    insert(rng, input, run);
}

fn insert_noise(rng: &mut Rng, input: &mut Vec<u8>) {
    let length = rng.usize(1..=RUN_BYTES_MAX);
    let noise: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    insert(rng, input, &noise);
}

fn remove_range(rng: &mut Rng, input: &mut Vec<u8>) {
    let start = rng.usize(0..=input.len());
    let length = rng.usize(0..=RUN_BYTES_MAX.min(input.len() - start));
    input.drain(start..start + length);
}

fn repeat_range(rng: &mut Rng, input: &mut Vec<u8>) {
    let start = rng.usize(0..=input.len());
    let length = rng.usize(0..=RUN_BYTES_MAX.min(input.len() - start));
    let run: Vec<u8> = input.iter().skip(start).take(length).copied().collect();
    insert(rng, input, &run);
}

/// Puts another input behind this one, as packets follow each other on a connection.
fn append_other(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    if let Some(other) = rng.choice(corpus) {
        input.extend_from_slice(other);
    }
}

/// Joins the beginning of this input and the end of another.
fn splice_other(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    if let Some(other) = rng.choice(corpus) {
        input.truncate(rng.usize(0..=input.len()));
        input.extend(other.iter().skip(rng.usize(0..=other.len())));
    }
}

fn insert(rng: &mut Rng, input: &mut Vec<u8>, run: &[u8]) {
    let place = rng.usize(0..=input.len());
    input.splice(place..place, run.iter().copied());
}

fn any_byte<'a>(rng: &mut Rng, input: &'a mut [u8]) -> Option<&'a mut u8> {
    let index = rng.usize(0..input.len().max(1));
    input.get_mut(index)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_is_an_input() {
        let corpus = [b"\x30\x05\x00\x01abc".to_vec(), b"\xc0\x00".to_vec()];
        let inputs: HashSet<Vec<u8>> = (0..1000).map(|seed| mutate(seed, &corpus)).collect();
        assert!(inputs.len() > 700, "{} different inputs", inputs.len());
        assert!((0..1000).all(|seed| inputs.contains(&mutate(seed, &corpus))));
    }

    #[test]
    fn inputs_stay_near_the_corpus_and_also_leave_it() {
        let corpus = [vec![7; 40]];
        let kept = |input: &[u8]| input.iter().filter(|byte| **byte == 7).count();
        let inputs: Vec<Vec<u8>> = (0..1000).map(|seed| mutate(seed, &corpus)).collect();
        assert!(inputs.iter().any(|input| kept(input) >= 38));
        assert!(inputs.iter().any(|input| kept(input) == 0));
        assert!(inputs.iter().any(|input| input.len() > 80));
    }

    #[test]
    fn an_empty_corpus_and_a_huge_member_do_no_harm() {
        assert!((0..1000).any(|seed| !mutate(seed, &[]).is_empty()));
        let corpus = [vec![0; 100_000], Vec::new()];
        assert!((0..1000).all(|seed| mutate(seed, &corpus).len() <= INPUT_BYTES_MAX));
    }
}
