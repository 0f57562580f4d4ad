//! What decoding costs in memory. Alone in its process: it counts every allocation.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use std::alloc::System;

use bytes::Bytes;
use crosspoint_protocol::{
    Version,
    codec::{Direction, Frames},
    packet::Packet,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

// One test, since tests of one process run side by side and would count each other's memory.
#[test]
fn decoding_allocates_nothing_for_a_publish_and_nothing_for_a_declared_length() {
    a_publish_that_lies_whole_in_a_chunk_allocates_nothing();
    a_declared_length_reserves_nothing();
    a_partial_packet_gives_its_memory_away();
}

fn a_publish_that_lies_whole_in_a_chunk_allocates_nothing() {
    let plain: &[u8] = b"\x32\x0a\x00\x03a/b\x00\x07abc";
    let with_properties: &[u8] =
        b"\x33\x20\x00\x03a/b\x00\x07\x15\x01\x01\x02\x00\x00\x00\x3c\x08\x00\x01r\x26\x00\x01k\x00\x01v\x23\x00\x01abc";
    for (version, packet) in [
        (Version::V3_1, plain),
        (Version::V3_1_1, plain),
        (Version::V5, b"\x32\x0b\x00\x03a/b\x00\x07\x00abc"),
        (Version::V5, with_properties),
    ] {
        assert_eq!(fewest(|| allocations_of_a_thousand(packet, version)), 0, "MQTT {version}");
    }
}

/// Returns the least of several measurements: the test harness has a thread that now and then allocates meanwhile.
fn fewest(measure: impl Fn() -> usize) -> usize {
    (0..20).map(|_| measure()).min().unwrap()
}

fn allocations_of_a_thousand(packet: &[u8], version: Version) -> usize {
    let chunk = Bytes::from(packet.repeat(1_000));
    // A buffer becomes shared with its first clone; that is the price of the chunk, not of a packet.
    let _shared = chunk.clone();
    let mut frames = Frames::new(1_000_000);
    let region = Region::new(ALLOCATOR);
    frames.push(chunk);
    let mut count = 0;
    while let Some(packet) = frames.next(Some(version), Direction::FromClient).unwrap() {
        let Packet::Publish(publish) = packet else { panic!("not a PUBLISH") };
        assert_eq!(publish.payload.as_ref(), b"abc");
        publish.properties.iter().for_each(drop);
        count += 1;
    }
    let change = region.change();
    assert_eq!(count, 1_000, "MQTT {version}");
    change.allocations + change.reallocations
}

fn a_declared_length_reserves_nothing() {
    const CONNECTIONS: usize = 10_000;
    let mut all: Vec<Frames> = (0..CONNECTIONS).map(|_| Frames::new(300_000_000)).collect();
    let chunk = Bytes::from_static(b"\x10\xff\xff\xff\x7f\x00\x04MQTT");
    let region = Region::new(ALLOCATOR);
    for frames in &mut all {
        frames.push(chunk.clone());
        assert_eq!(frames.next(None, Direction::FromClient), Ok(None));
    }
    let held = region.change().bytes_allocated - region.change().bytes_deallocated;
    assert!(held < CONNECTIONS * 32, "{held} bytes for {CONNECTIONS} connections");
}

fn a_partial_packet_gives_its_memory_away() {
    assert_eq!(fewest(bytes_held_behind_a_partial_packet), 0, "an idle connection holds heap memory");
}

fn bytes_held_behind_a_partial_packet() -> usize {
    let region = Region::new(ALLOCATOR);
    let mut frames = Frames::new(1_000_000);
    let packet = [&b"\x30\xe7\x07\x00\x01t\x00"[..], &[7; 995]].concat();
    let (head, tail) = packet.split_at(500);
    frames.push(Bytes::copy_from_slice(head));
    assert_eq!(frames.next(Some(Version::V5), Direction::FromClient), Ok(None));
    frames.push(Bytes::copy_from_slice(tail));
    let whole = frames.next(Some(Version::V5), Direction::FromClient).unwrap();
    assert!(matches!(&whole, Some(Packet::Publish(publish)) if publish.payload.len() == 995));
    assert!(frames.is_empty());
    drop((whole, packet));
    let change = region.change();
    change.bytes_allocated.abs_diff(change.bytes_deallocated)
}
