//! Every key of the project file, section by section.
//!
//! A key that is read anywhere is one of these constants, so nothing can be read that is not declared.

use super::setting::{Setting, Shape};

pub mod announcement;
pub mod broker;
pub mod connector;
pub mod flow;
pub mod link;
pub mod outbox;

/// What the project is known by.
pub const ID: Setting = Setting::optional_text(
    "id",
    "What sealed secrets know the project by: made with the first of them, no secret, and never to be changed.",
);

/// `[connector.NAME]`.
pub const CONNECTOR: Setting = Setting::shaped(
    "connector",
    Shape::Named(connector::ALL),
    "The brokers that the hub connects to, each under a name.",
);

/// `[flow.NAME]`.
pub const FLOW: Setting = Setting::shaped(
    "flow",
    Shape::Named(flow::ALL),
    "What moves from one connector to others, each flow under a name.",
);

/// `[broker]`.
pub const BROKER: Setting = Setting::shaped("broker", Shape::Table(broker::ALL), "The embedded broker.");

/// `[console]`.
pub const CONSOLE: Setting = Setting::shaped("console", Shape::Table(CONSOLE_ALL), "The web console.");

/// `[environment.NAME]`.
pub const ENVIRONMENT: Setting = Setting::shaped(
    "environment",
    Shape::Overlays,
    "What differs in an environment: merged over the rest of the file by `--env NAME`.",
);

/// The sections of a project file.
pub const PROJECT: &[&Setting] = &[&ID, &CONNECTOR, &FLOW, &BROKER, &CONSOLE, &ENVIRONMENT];

/// `enabled` of the console.
pub const CONSOLE_ENABLED: Setting = Setting::flag("enabled", true, "Whether the console runs.");

/// `bind` of the console.
pub const CONSOLE_BIND: Setting =
    Setting::text("bind", "127.0.0.1:8080", "The address and port that the console listens on.");

const CONSOLE_ALL: &[&Setting] = &[&CONSOLE_ENABLED, &CONSOLE_BIND];

/// The key of an overlay that takes keys away.
pub const UNSET: &str = "unset";

/// Returns the declaration that a path of keys leads to, without the environment; that of a table with free names for
/// what stands in it, too.
pub(crate) fn declared(keys: &[String]) -> Option<&'static Setting> {
    declared_in(PROJECT, keys)
}

fn declared_in(known: &'static [&'static Setting], keys: &[String]) -> Option<&'static Setting> {
    let (key, rest) = keys.split_first()?;
    let setting = known.iter().copied().find(|setting| setting.key == key)?;
    match (&setting.shape, rest) {
        (_, []) | (Shape::Secrets, [_]) | (Shape::Named(_), [_]) => Some(setting),
        (Shape::Table(inner) | Shape::TextOrTable(inner) | Shape::Tables(inner), rest) => {
            declared_in(inner, rest)
        }
        (Shape::Named(inner), [_, rest @ ..]) => declared_in(inner, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[&Setting], path: &str) {
        for (index, setting) in settings.iter().enumerate() {
            let path = format!("{path}.{}", setting.key);
            assert!(settings[..index].iter().all(|other| other.key != setting.key), "{path} stands twice");
            assert!(setting.help.ends_with('.') && !setting.key.is_empty(), "{path} has no help");
            match setting.shape {
                Shape::Integer { min, max, default } => {
                    assert!(
                        min <= max && default.is_none_or(|default| (min..=max).contains(&default)),
                        "{path}"
                    );
                }
                Shape::Choice { values, default } => {
                    assert!(default.is_none_or(|default| values.contains(&default)), "{path}");
                }
                Shape::Table(inner)
                | Shape::TextOrTable(inner)
                | Shape::Tables(inner)
                | Shape::Named(inner) => check(inner, &path),
                _ => {}
            }
        }
    }

    #[test]
    fn every_declaration_is_whole_and_its_default_within_its_bounds() {
        check(PROJECT, "");
    }
}
