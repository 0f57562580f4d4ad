//! A publisher of three packets, written out: the generator does not tell how long an acknowledgement takes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::Outcome;

/// MQTT 3.1.1, clean session, keep alive off, client identifier `lone`.
const CONNECT: &[u8] = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04lone";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// How long an acknowledgement may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Publishes messages at QoS 1 one after the other, and returns how long each acknowledgement took in microseconds.
///
/// # Errors
/// When the broker refuses, is silent, or answers with something else.
pub(super) fn waits_us(port: u16, messages: usize) -> Outcome<Vec<f64>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut answer = [0; 4];
    stream.write_all(CONNECT)?;
    stream.read_exact(&mut answer)?;
    if answer != CONNACK {
        return Err(format!("the broker answered {answer:02x?} to CONNECT").into());
    }
    let mut waits = Vec::with_capacity(messages);
    for id in (1..=u16::MAX).cycle().take(messages) {
        let start = Instant::now();
        stream.write_all(&publish(id))?;
        stream.read_exact(&mut answer)?;
        waits.push(start.elapsed().as_secs_f64() * 1e6);
        if answer != puback(id) {
            return Err(format!("the broker answered {answer:02x?} to message {id}").into());
        }
    }
    Ok(waits)
}

/// Returns a PUBLISH at QoS 1 to `lone/message` with 64 bytes of payload.
fn publish(id: u16) -> Vec<u8> {
    let topic = b"lone/message";
    let mut packet = vec![0x32, 80, 0, 12];
    packet.extend_from_slice(topic);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.resize(82, b'x');
    packet
}

fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_in_the_packets_are_theirs() {
        assert_eq!(CONNECT.len(), 2 + usize::from(CONNECT[1]));
        let packet = publish(0x0102);
        assert_eq!(packet.len(), 2 + usize::from(packet[1]));
        assert_eq!(packet[16..18], [1, 2]);
        assert_eq!(puback(0x0102), [0x40, 2, 1, 2]);
    }
}
