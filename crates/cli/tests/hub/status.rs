//! `status`: what a hub that runs says of itself.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{PROJECT, Up, WITHIN, folder, port, read_until, run, text};

fn status(folder: &Path) -> Value {
    let output = run(folder, &["status", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until a connector is in a state, and returns what is said of it.
#[track_caller]
fn wait_for(folder: &Path, connector: &str, state: &str) -> Value {
    let begin = Instant::now();
    loop {
        let said = status(folder);
        let rows = said["connectors"].as_array().unwrap();
        let row = rows.iter().find(|row| row["connector"] == connector).unwrap_or_else(|| panic!("{said}"));
        if row["state"] == state {
            return row.clone();
        }
        assert!(begin.elapsed() < WITHIN, "{connector} does not become {state}: {row}");
    }
}

fn connector(name: &str, port: u16, more: &str) -> String {
    format!(
        "[connector.{name}]\nurl = \"mqtt://127.0.0.1:{port}\"\nreconnect_min_ms = 100\nreconnect_max_ms = 100\n{more}"
    )
}

/// A server that takes each connection and says something of its own, until the test ends.
fn server(says: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A client that leaves first is no fault.
            drop(stream.read(&mut [0; 1_024]));
            drop(stream.write_all(says));
        }
    });
    port
}

/// Returns what the doctor has from the hub about a connector.
#[track_caller]
fn hub_step(folder: &Path, connector: &str) -> Value {
    let output = run(folder, &["doctor", connector, "--json", "--listen-for", "1"]);
    let all: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let step = all[0]["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(step["stage"], "hub", "{all:#}");
    step
}

#[test]
fn without_a_running_hub_it_says_so_and_what_to_do() {
    let site = folder(PROJECT);
    for _ in 0..2 {
        let output = run(site.path(), &["status"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("error: no hub runs on crosspoint-data"), "{said}");
        assert!(said.contains(" next: start it with `crosspoint up`"), "{said}");
        // The second time there is a store of a hub that has stopped.
        let (up, _) = Up::running(site.path(), &[]);
        assert_eq!(up.stop("TERM").0, Some(0));
    }
}

#[test]
fn each_connector_has_its_state_with_cause_and_next_step() {
    let far = folder(PROJECT);
    let (far_up, printed) = Up::running(far.path(), &[]);
    let refusing = server(&[0x20, 3, 0, 0x86, 0]);
    let project = [
        PROJECT,
        &connector("plant", port(&printed, "mqtt://"), ""),
        &connector("locked", refusing, "protocol = \"5.0\"\nusername = \"u\"\npassword = \"wrong\"\n"),
        &connector("web", server(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ""),
        &connector("gone", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(), ""),
        &connector("later", 1, "enabled = false\n"),
        "[flow.f]\nfrom = { connector = \"broker\", topics = \"a/#\" }\nto = { connector = \"plant\" }\n",
        "[flow.g]\nfrom = { connector = \"gone\", topics = \"a/#\" }\nto = { connector = \"plant\" }\n",
        "[flow.h]\nfrom = { connector = \"broker\", topics = \"b/#\" }\nto = { connector = \"later\" }\n",
    ];
    let site = folder(&project.concat());
    let (up, _) = Up::running(site.path(), &[]);
    let plant = wait_for(site.path(), "plant", "connected");
    assert_eq!((&plant["cause"], &plant["next_try_wall_ms"]), (&Value::Null, &Value::Null), "{plant}");
    assert!(plant["client_id"].as_str().is_some_and(|id| id.starts_with("plant-")), "{plant}");
    let locked = wait_for(site.path(), "locked", "refused");
    assert!(locked["cause"].as_str().unwrap().contains("bad user name or password"), "{locked}");
    assert!(locked["next_step"].as_str().unwrap().contains("password"), "{locked}");
    assert!(locked["next_try_wall_ms"].as_u64() > locked["since_wall_ms"].as_u64(), "{locked}");
    assert!(!locked.to_string().contains("wrong"), "a secret is never shown");
    let web = wait_for(site.path(), "web", "misconfigured");
    assert!(web["cause"].as_str().unwrap().contains("HTTP"), "{web}");
    wait_for(site.path(), "gone", "backing off");
    let said = hub_step(site.path(), "plant");
    assert_eq!(said["outcome"], "passed", "{said:#}");
    assert!(said["seen"].as_str().unwrap().starts_with("the hub that runs says: connected for "), "{said:#}");
    // What both have found is said once.
    let said = hub_step(site.path(), "gone");
    assert_eq!(
        (&said["outcome"], said["diagnoses"].as_array().unwrap().len()),
        (&json!("passed"), 0),
        "{said:#}"
    );
    let later = wait_for(site.path(), "later", "off");
    assert!(later["next_step"].as_str().unwrap().contains("enabled = true"), "{later}");

    let said = status(site.path());
    assert!(said["broker"]["listening"][0].as_str().unwrap().starts_with("mqtt://127.0.0.1:"), "{said}");
    let flows: Vec<&str> =
        said["flows"].as_array().unwrap().iter().map(|flow| flow["state"].as_str().unwrap()).collect();
    assert_eq!(flows, ["runs", "waits: gone is backing off", "off: connector later is disabled"], "{said}");

    let shown = text(&run(site.path(), &["status"]).stdout);
    for line in [
        "CONNECTOR",
        "locked: ",
        "  setting: connector.locked.password = ...",
        "  next: ",
        "broker  mqtt://",
        "flow f  broker -> plant  runs",
    ] {
        assert!(shown.contains(line), "no {line:?} in\n{shown}");
    }
    assert_eq!((up.stop("TERM").0, far_up.stop("TERM").0), (Some(0), Some(0)));
}

#[test]
fn two_connectors_that_throw_each_other_out_are_told_of_each_other() {
    let far = folder(PROJECT);
    let (far_up, printed) = Up::running(far.path(), &[]);
    let at = port(&printed, "mqtt://");
    let (east, west) = ("east", "west");
    let site = folder(&[PROJECT, &connector(east, at, "")].concat());
    let (up, _) = Up::running(site.path(), &[]);
    let connected = read_until(&up.log, "Connected.");
    let id = connected.split("client_id=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    // Somebody has copied the client id from the log.
    let copied = format!("client_id = {id:?}\n");
    let both = [PROJECT, &connector(east, at, ""), &connector(west, at, &copied)].concat();
    std::fs::write(site.path().join("crosspoint.toml"), both).unwrap();
    read_until(&up.log, "of this project also uses the client id");
    let begin = Instant::now();
    let fighting = loop {
        let rows = status(site.path())["connectors"].clone();
        let found = rows.as_array().unwrap().iter().find(|row| row["state"] == "fighting over its client id");
        if let Some(row) = found {
            break row.clone();
        }
        assert!(begin.elapsed() < WITHIN, "{rows}");
    };
    let twin = if fighting["connector"] == east { west } else { east };
    assert!(
        fighting["cause"].as_str().unwrap().contains(&format!("connector {twin} of this project")),
        "{fighting}"
    );
    assert_eq!(
        (&fighting["fault"], &fighting["setting"]),
        (&json!("client-id-fight"), &json!("client_id = ..."))
    );
    // The doctor has a client id of its own, and yet it knows.
    let begin = Instant::now();
    let told = loop {
        let step = hub_step(site.path(), "east");
        if step["diagnoses"][0]["fault"] == "client-id-fight" {
            break step;
        }
        assert!(begin.elapsed() < WITHIN, "{step:#}");
    };
    assert!(
        told["diagnoses"][0]["cause"].as_str().unwrap().contains("connector west of this project"),
        "{told:#}"
    );
    assert!(told["seen"].as_str().unwrap().starts_with("the hub that runs says: "), "{told:#}");
    assert_eq!((up.stop("TERM").0, far_up.stop("TERM").0), (Some(0), Some(0)));
}
