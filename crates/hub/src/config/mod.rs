//! The project file: from the text of `crosspoint.toml` to a checked [`Plan`].
//!
//! ```text
//!  text ─► file (typed, with places) ─► shape (one key) ─► overlay ─► preset ─► resolve (several keys) ─► Plan
//!                                         ▲                                                                │
//!                      settings (one declaration of every key)                              diff (old, new) ─► Changes
//!                                         ▼
//!                          schema, reference, explain
//! ```
//!
//! All errors of a file are found in one go, each a [`Diagnostic`] with place, reason and what to write instead. What
//! is not here: watching the file, writing it, and running what the plan says.
//!
//! Invariant: a [`Plan`] exists only for a file without errors, so nothing behind it checks again; and no secret of
//! the file is ever part of a diagnostic.

use std::path::Path;
use std::sync::Arc;

mod diagnostic;
mod diff;
pub mod edit;
mod explain;
mod file;
mod mask;
mod overlay;
pub mod plan;
mod preset;
mod reference;
mod resolve;
mod sample;
mod schema;
mod secret;
mod section;
pub mod setting;
pub mod settings;
mod shape;
mod suggest;
pub mod template;

pub use diagnostic::{Colour, Diagnostic, Severity, Source};
pub use diff::{Changes, ConnectorChange, FlowChange, ListenerChange, diff};
pub use explain::{ExplainError, Explained, Origin, Shown, explain};
pub(crate) use mask::names_a_secret;
pub use plan::Plan;
pub use preset::Preset;
pub use reference::reference;
pub use sample::SAMPLE;
pub use schema::schema;
pub use secret::Secret;
pub use template::Template;

use diagnostic::Findings;
use resolve::material::Material;
use section::Section;

use crate::secret::{KeySource, Opener, ProjectId};

/// The largest project file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads and checks a project file, with the overlay of an environment.
///
/// Gives the plan and its warnings.
///
/// # Errors
/// The file cannot be read, or it has errors: all of them, and its warnings, in the order of the file.
pub fn load(path: &Path, environment: Option<&str>) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    load_with(path, environment, &KeySource::beside(path))
}

/// Reads and checks a project file as [`load`] does, with a sealing key from elsewhere than the environment says.
///
/// # Errors
/// As there.
pub fn load_with(
    path: &Path,
    environment: Option<&str>,
    key: &KeySource,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => check(&text, &name, path, environment, key),
        Err(reason) => Err(unreadable(&name, &reason)),
    }
}

/// Returns the names of the environments of a project file, in the order of the file.
///
/// # Errors
/// The file cannot be read, or is not TOML.
pub fn environments(path: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = read(path).map_err(|reason| unreadable(&name, &reason))?;
    let (root, syntax_errors) = file::read(&text);
    if !syntax_errors.is_empty() {
        return check(&text, &name, path, None, &KeySource::beside(path)).map(|_| Vec::new());
    }
    let entries = match root.entry(settings::ENVIRONMENT.key).map(|entry| &entry.item.value) {
        Some(file::Value::Table(overlays)) => overlays.entries.as_slice(),
        _ => &[],
    };
    Ok(entries.iter().map(|entry| entry.key.clone()).collect())
}

/// Checks the text of a project file; files that it refers to are looked for beside `name`.
///
/// Gives the plan and its warnings.
///
/// # Errors
/// All errors of the file, and its warnings, in the order of the file.
///
/// # Examples
/// ```
/// use crosspoint_hub::config::parse;
///
/// let findings = parse("[connector.plant]\nurl = \"mqqt://h\"\n", "crosspoint.toml", None).unwrap_err();
/// assert_eq!(findings[0].message, "`connector.plant.url` has the scheme \"mqqt\", which is not known");
/// assert_eq!(findings[0].help.as_deref(), Some("did you mean mqtt://?"));
/// println!("{}", findings[0]);
/// ```
pub fn parse(
    text: &str,
    name: &str,
    environment: Option<&str>,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    parse_with(text, name, environment, &KeySource::beside(Path::new(name)))
}

/// Checks the text of a project file as [`parse`] does, with a sealing key from elsewhere than the environment says.
///
/// # Errors
/// As [`parse`] does.
pub fn parse_with(
    text: &str,
    name: &str,
    environment: Option<&str>,
    key: &KeySource,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    check(text, name, Path::new(name), environment, key)
}

fn unreadable(name: &str, reason: &str) -> Vec<Diagnostic> {
    let source = Source { name: name.to_owned(), ..Source::default() };
    let mut findings = Findings::new(Arc::new(source));
    findings.error_of_file(format!("{name} cannot be read: {reason}"));
    findings.into_list()
}

/// Checks the settings of a connection that is given at run time: the keys of a connector of kind `mqtt`, as TOML. It is
/// stored nowhere. `env:` and `file:` values are read, so they must come from somebody who may see those.
///
/// # Errors
/// The settings have errors: all of them.
pub fn connection(settings: &str) -> Result<Box<plan::MqttPlan>, Vec<Diagnostic>> {
    let (mut plan, _warnings) = parse(&format!("[connector.given]\n{settings}\n"), "connection", None)?;
    match plan.connectors.remove("given") {
        Some(plan::ConnectorPlan::Mqtt(mqtt)) => Ok(mqtt),
        _ => Err(Vec::new()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err("it is larger than 16 MiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|byte| **byte == b'\n');
        format!("line {} is not UTF-8", line.count() + 1)
    })
}

fn check(
    text: &str,
    name: &str,
    path: &Path,
    environment: Option<&str>,
    key: &KeySource,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (mut root, mut syntax_errors) = file::read(text);
    syntax_errors.dedup();
    let is_broken = !syntax_errors.is_empty();
    let shown = if is_broken { mask::masked_broken(text) } else { mask::masked(text, &root) };
    let source = Source { name: name.to_owned(), text: shown.text, hidden: shown.hidden };
    let mut findings = Findings::new(Arc::new(source));
    for error in syntax_errors {
        let finding = findings.error(&error.span, format!("this is not TOML: {}", error.message));
        finding.label("here");
    }
    if is_broken {
        return Err(findings.into_list());
    }
    shape::check(&root, &mut findings);
    overlay::apply(&mut root, environment, &mut findings);
    preset::fill(&mut root);
    let opener = Opener::new(key.clone(), project_id(&root, &mut findings));
    let material = Material::beside(path, opener);
    let mut plan = resolve::resolve(&root, &material, &mut findings);
    plan.environment = environment.map(str::to_owned);
    plan.files = material.into_files();
    match findings.has_errors() {
        true => Err(findings.into_list()),
        false => Ok((plan, findings.into_list())),
    }
}

/// Reads what the sealed values of the file are bound to.
fn project_id(root: &file::Table, findings: &mut Findings) -> Option<ProjectId> {
    let written = Section::root(root).text(&settings::ID)?;
    let id = ProjectId::parse(written.text);
    if id.is_none() {
        let finding = findings.error(written.span, "`id` is not one that crosspoint has made");
        finding.label("not 32 digits from 0 to f").help(
            "restore it: sealed secrets are bound to it; in a project without sealed secrets, remove the line",
        );
    }
    id
}
