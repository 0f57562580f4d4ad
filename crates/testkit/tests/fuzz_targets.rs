//! The two ways of fuzzing know the same targets.

use std::fs;
use std::path::PathBuf;

use crosspoint_testkit::fuzz_targets;

#[test]
fn every_fuzz_function_is_a_target_of_cargo_fuzz_and_has_a_corpus() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for (name, _) in fuzz_targets() {
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap_or_default();
        assert!(program.contains(&format!("run(\"{name}\", input)")), "fuzz/fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml has no {name}");
        let corpus = fs::read_dir(fuzz().join("corpus").join(name));
        assert!(corpus.is_ok_and(|files| files.count() > 0), "fuzz/corpus/{name} is empty");
    }
}

#[test]
fn every_target_of_cargo_fuzz_is_a_fuzz_function() {
    for file in fs::read_dir(fuzz().join("fuzz_targets")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(fuzz_targets().any(|(target, _)| *target == name), "{name} fuzzes nothing");
    }
}

fn fuzz() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../fuzz")
}
