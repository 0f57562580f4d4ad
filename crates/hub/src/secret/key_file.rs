//! The key that lies in the hub's own folder.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::KeyRing;
use crate::replacing::{create_private, replace};

/// The name of the file in the hub's own folder that holds the sealing key.
pub const KEY_FILE: &str = "sealing.key";

const REMARK: &str = "\
# The sealing key of a Crosspoint project. Back this up, apart from the project file: without it nobody can open the
# project's sealed secrets, and with it everybody can.
";

/// Writes a key into a file that is not there yet, for its owner only.
///
/// # Errors
/// The file is there, or cannot be made.
pub fn make_key_file(path: &Path, keys: &KeyRing) -> io::Result<()> {
    create_private(path, text_of(keys).as_bytes())
}

/// Replaces the keys of a file, as a whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn replace_key_file(path: &Path, keys: &KeyRing) -> io::Result<()> {
    replace(path, text_of(keys).as_bytes(), Some(0o600))
}

pub(super) fn text_of(keys: &KeyRing) -> Zeroizing<String> {
    let mut text = Zeroizing::new(REMARK.to_owned());
    for key in keys.keys() {
        text.push_str(&key.expose_text());
        text.push('\n');
    }
    text
}
