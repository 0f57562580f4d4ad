//! A proxy that speaks HTTP and SOCKS5 and takes no login.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Starts one, which ends with the test's process, and returns its port.
pub(super) fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Who goes away before the answer is the client's own affair.
            thread::spawn(move || refuse(stream).unwrap_or_default());
        }
    });
    port
}

fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = [0; 2];
    stream.read_exact(&mut first)?;
    if first[0] == 5 {
        stream.read_exact(&mut vec![0; usize::from(first[1])])?;
        stream.write_all(&[5, 2])?;
        // Version, user name and password, and that they are wrong.
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        stream.read_exact(&mut vec![0; usize::from(length[1])])?;
        stream.read_exact(&mut length[..1])?;
        stream.read_exact(&mut vec![0; usize::from(length[0])])?;
        return stream.write_all(&[1, 1]);
    }
    let (mut head, mut byte) = (first.to_vec(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
}
