//! `store`: whether what a hub keeps is whole, and what of it can be saved.

use std::fs;
use std::path::Path;

use crosspoint_store::{Batch, Directory, Options, Store};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{run, text};

const VERIFY: &[&str] = &["store", "verify"];

fn open(path: &Path) -> Store {
    Store::open(Directory::open(path).unwrap(), Options::default().reserve_bytes(0)).unwrap()
}

/// Returns a folder with the store of a hub in it: ten messages in two queues, and two entries of a table.
fn stopped() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("crosspoint-data/store"));
    for number in 0..10_u8 {
        let mut batch = Batch::new();
        batch.publish(vec![number; 100].into(), [(8 * u64::from(number % 2), 1)]);
        batch.put(6, vec![number % 2].into(), vec![number].into());
        store.commit(batch).wait().unwrap();
    }
    store.close();
    folder
}

/// Changes one byte in the middle of the first segment.
fn damage(folder: &TempDir) {
    let segment = folder.path().join("crosspoint-data/store/log-0000000000000001");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&segment, bytes).unwrap();
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| panic!("{}", text(bytes)))
}

#[test]
fn a_whole_store_is_said_to_be_whole() {
    let folder = stopped();
    let output = run(folder.path(), VERIFY);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("crosspoint-data/store is whole: 1 segment, "), "{said}");
    assert_eq!(text(&output.stderr), "", "no progress without a terminal");
    let report = json(&run(folder.path(), &["store", "verify", "--json"]).stdout);
    assert_eq!((&report["segments"], &report["damages"]), (&1.into(), &Value::Array(Vec::new())));
    assert!(report["frames"].as_u64() >= Some(10), "{report}");
}

#[test]
fn damage_is_told_by_file_offset_and_what_to_do() {
    let folder = stopped();
    damage(&folder);
    let output = run(folder.path(), VERIFY);
    let (said, failed) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{said}{failed}");
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["FILE", "OFFSET", "EXPECTED", "FOUND"], "{said}");
    assert_eq!(lines[2][0], "log-0000000000000001", "{said}");
    assert!(lines[2][1].parse::<u64>().is_ok() && said.contains("a frame"), "{said}");
    assert!(failed.starts_with("error: the store in crosspoint-data/store is damaged in "), "{failed}");
    assert!(failed.contains(" next: ") && failed.contains("crosspoint store salvage TO"), "{failed}");

    let output = run(folder.path(), &["store", "verify", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json(&output.stdout)["damages"][0]["file"], "log-0000000000000001");

    let output = run(folder.path(), &["store", "status"]);
    assert_eq!(output.status.code(), Some(3), "a damaged store is not opened");
    assert!(text(&output.stderr).contains("store verify"), "{}", text(&output.stderr));
}

#[test]
fn what_is_whole_is_saved_and_what_is_not_is_counted() {
    let folder = stopped();
    let output = run(folder.path(), &["store", "salvage", "saved"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("saved 10 waiting messages and 2 entries of tables into saved\n"), "{said}");
    assert!(said.contains("mv saved crosspoint-data/store"), "{said}");

    damage(&folder);
    let before = fs::read(folder.path().join("crosspoint-data/store/log-0000000000000001")).unwrap();
    let output = run(folder.path(), &["store", "salvage", "part", "--json"]);
    let saved = json(&output.stdout);
    let kept = saved["messages"].as_u64().unwrap();
    assert!(kept > 0 && kept < 10 && !saved["damages"].as_array().unwrap().is_empty(), "{saved}");
    assert_eq!(output.status.code(), Some(3), "it is not everything");
    assert!(text(&output.stderr).contains("what stood in 1 damaged place is lost"), "{output:?}");
    let after = fs::read(folder.path().join("crosspoint-data/store/log-0000000000000001")).unwrap();
    assert_eq!(before, after, "the damaged store stays as it is");

    // It takes the place of the damaged one, as it says.
    fs::rename(folder.path().join("crosspoint-data/store"), folder.path().join("damaged")).unwrap();
    fs::rename(folder.path().join("part"), folder.path().join("crosspoint-data/store")).unwrap();
    assert_eq!(run(folder.path(), VERIFY).status.code(), Some(0));
    let status = json(&run(folder.path(), &["store", "status", "--json"]).stdout);
    assert_eq!(status["sessions"], kept, "{status}");
}

#[test]
fn a_store_in_use_is_refused_and_names_the_process() {
    let folder = stopped();
    let store = open(&folder.path().join("crosspoint-data/store"));
    for arguments in [VERIFY, &["store", "salvage", "saved"], &["store", "status"]] {
        let output = run(folder.path(), arguments);
        let failed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{failed}");
        assert!(failed.contains(&format!("in use by process {}", std::process::id())), "{failed}");
        assert_eq!(failed.lines().filter(|line| line.starts_with(" next: ")).count(), 1, "{failed}");
    }
    assert!(!folder.path().join("saved").exists());
    store.close();
}

#[test]
fn status_says_what_it_takes_up_and_what_waits() {
    let folder = stopped();
    let output = run(folder.path(), &["store", "status", "--data", "crosspoint-data"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for (title, value) in
        [("store ", "crosspoint-data/store"), ("waiting for sessions ", "10"), ("reserve ", "64.0 MiB")]
    {
        let line = said.lines().find(|line| line.starts_with(title)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.ends_with(value), "{said}");
    }
}

#[test]
fn wrong_arguments_are_wrong_and_make_nothing() {
    let folder = stopped();
    for arguments in [
        &["store"][..],
        &["store", "mend"],
        &["store", "salvage"],
        &["store", "verify", "--data", "nowhere"],
        &["store", "status", "--data", "nowhere"],
        &["store", "salvage", "saved", "--project", "else/crosspoint.toml"],
        &["store", "salvage", "crosspoint-data"],
        &["store", "verify", "--data", "a", "--project", "b"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).is_empty());
    }
    let made: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["crosspoint-data"]);
}
