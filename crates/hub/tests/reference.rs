//! The reference of the guide is that of the declarations.

use std::path::Path;

use crosspoint_hub::config::reference;

#[test]
fn the_reference_in_the_guide_is_up_to_date() {
    let path =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../docs/guide/reference.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let stale =
        reference().lines().map(str::to_owned).find(|line| !page.lines().any(|written| written == line));
    assert!(
        page == reference(),
        "docs/guide/reference.md is stale; make it anew: cargo run -q -- schema --markdown > docs/guide/reference.md\n\
         the first line that it lacks: {stale:?}"
    );
}
