//! What `pub` and `sub` say when they cannot do what they were asked for, and how they end.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
};

use crate::site::{Ended, Program, Site};

fn run(command: &str, port: u16, words: &[&str]) -> Ended {
    let port = port.to_string();
    Program::new(&[&[command, "-h", "127.0.0.1", "-p", port.as_str()], words].concat()).start().end()
}

fn publish(port: u16, words: &[&str]) -> Ended {
    run("pub", port, &[&["-t", "a", "-m", "x"], words].concat())
}

/// Answers every connection with these bytes and closes it.
fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // So that closing does not become a reset, which would overtake the answer.
            drop(stream.read(&mut [0; 1_024]));
            drop(stream.write_all(answer));
        }
    });
    port
}

#[test]
fn a_port_where_nobody_listens() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let cause = format!("127.0.0.1:{port} refuses connections");
    publish(port, &[]).failed(1, &cause, "check the port, and that the server is running");
    run("sub", port, &["-t", "a"]).failed(1, &cause, "check the port, and that the server is running");
}

#[test]
fn a_wrong_password() {
    let site = Site::with_user("alice", "secret");
    for version in ["5", "311"] {
        let login = ["-V", version, "-u", "alice", "-P", "wrong"];
        let cause = "the server refused the connection: ";
        publish(site.port, &login).failed(1, cause, "check user name and password");
        let ended = run("sub", site.port, &[&["-t", "a"][..], &login].concat());
        ended.failed(1, cause, "check user name and password");
        publish(site.port, &["-V", version, "-q", "1", "-u", "alice", "-P", "secret"]).printed();
    }
}

#[test]
fn a_port_that_speaks_something_else() {
    let http = answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let cause = "what answers on this port speaks HTTP instead of MQTT";
    publish(http, &[]).failed(1, cause, "--ws");
    run("sub", http, &["-t", "a"]).failed(1, cause, "--ws");

    let tls = answering(&[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46]);
    let cause = "what answers on this port speaks TLS instead of MQTT";
    publish(tls, &[]).failed(1, cause, "--cafile");
    run("sub", tls, &["-t", "a"]).failed(1, cause, "--cafile");

    let ssh = answering(b"SSH-2.0-OpenSSH_9.6\r\n");
    publish(ssh, &[]).failed(1, "what answers on this port does not speak MQTT", "check the port");
}

#[test]
fn a_port_that_closes_without_a_word() {
    let silent = answering(b"");
    let (cause, next_step) =
        ("the server closed the connection without an answer", "may not speak this version");
    publish(silent, &["-V", "5"]).failed(1, cause, next_step);
    publish(silent, &[]).failed(1, cause, next_step);
    run("sub", silent, &["-t", "a", "-V", "311"]).failed(1, cause, next_step);
}

#[test]
fn a_port_that_says_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    publish(port, &["-W", "1"]).failed(27, "within the time of -W", "more time");
    run("sub", port, &["-t", "a", "-W", "1"]).failed(27, "the time of -W is over", "more time");
}

#[test]
fn quiet_says_nothing_and_keeps_the_code() {
    let silent = answering(b"");
    let ended = publish(silent, &["--quiet", "-V", "5"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
}

#[test]
fn a_wrong_command_line_sends_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    publish(port, &["--will-topic", "a/#"]).failed(2, "--will-topic", "without + and #");
    run("pub", port, &["-t", "a/#", "-m", "x"]).failed(2, "wildcard", "wildcards are for `crosspoint sub`");
    run("pub", port, &["-m", "x"]).failed(2, "no topic", "add -t TOPIC");
    run("sub", port, &[]).failed(2, "nothing to subscribe to", "add -t FILTER");
    for words in [&["-q", "3"][..], &["--nonsense"], &["-D", "publish", "nonsense", "x"]] {
        let ended = publish(port, words);
        assert_eq!((ended.code, ended.stderr.starts_with("error: ")), (Some(2), true), "{}", ended.stderr);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_connector_of_the_project_file() {
    let site = Site::with_user("alice", "secret");
    let folder = std::env::temp_dir().join(format!("crosspoint-project-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("crosspoint.toml");
    let project = format!(
        "[connector.plant]\nurl = \"mqtt://127.0.0.1:{}\"\nusername = \"alice\"\npassword = \"secret\"\n",
        site.port
    );
    std::fs::write(&file, project).unwrap();
    let file = file.to_str().unwrap();
    let connector = |command, name, words: &[&str]| {
        Program::new(&[&[command, "--connector", name, "--project", file], words].concat()).start()
    };
    let mut sub = connector("sub", "plant", &["-d", "-t", "a", "-q", "1", "-C", "1", "-v"]);
    sub.wait_for("debug: subscribed");
    connector("pub", "plant", &["-t", "a", "-q", "1", "-m", "x"]).end().printed();
    assert_eq!(sub.end().printed(), "a x\n");

    connector("pub", "plent", &["-t", "a", "-m", "x"]).end().failed(2, "no connector plent", "plant");
    connector("pub", "broker", &["-t", "a", "-m", "x"]).end().failed(1, "no hub runs", "crosspoint up");
    std::fs::write(file, "[connector.plant]\nurl = \"nonsense://x\"\n").unwrap();
    let wrong = connector("pub", "plant", &["-t", "a", "-m", "x"]).end();
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("crosspoint.toml:2:"), "{}", wrong.stderr);
    std::fs::remove_dir_all(&folder).unwrap();
}
