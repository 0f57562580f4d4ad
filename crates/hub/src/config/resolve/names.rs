//! The names of connectors, and what is said when one is not among them.

use super::super::diagnostic::Findings;
use super::super::plan::BROKER_CONNECTOR;
use super::super::section::{Section, Text};
use super::super::settings;
use super::super::suggest::{closest, listed};

/// Every name that a flow may refer to, also those of connectors that have other faults.
pub(super) struct Names<'a> {
    connectors: Vec<&'a str>,
    is_broker_enabled: bool,
}

impl<'a> Names<'a> {
    pub(super) fn of(root: &Section<'a>) -> Self {
        let connectors = root.named(&settings::CONNECTOR).into_iter().map(|(name, _)| name);
        let connectors = connectors.filter(|name| *name != BROKER_CONNECTOR).collect();
        let broker = root.table(&settings::BROKER);
        Self { connectors, is_broker_enabled: broker.flag(&settings::broker::ENABLED) != Some(false) }
    }

    /// Reports a name that does not exist.
    pub(super) fn check(&self, name: Text<'_>, path: &str, findings: &mut Findings) {
        let is_broker = name.text == BROKER_CONNECTOR;
        let is_known = if is_broker { self.is_broker_enabled } else { self.connectors.contains(&name.text) };
        if is_known {
            return;
        }
        if is_broker {
            let message = format!("`{path}` names the embedded broker, which is disabled");
            let finding = findings.error(name.span, message).label("disabled");
            finding.help("remove `enabled = false` under [broker], or name another connector");
            return;
        }
        let message = format!("`{path}`: there is no connector \"{}\"", name.text.escape_debug());
        let finding = findings.error(name.span, message).label("not a connector");
        let known: Vec<_> = self.known().collect();
        match closest(name.text, known.iter().copied()) {
            Some(meant) => finding.help(format!("did you mean \"{meant}\"?")),
            None => finding.help(format!(
                "the connectors are {}; a new one is a section [connector.NAME]",
                listed(&known).replace(" or ", " and ")
            )),
        };
    }

    fn known(&self) -> impl Iterator<Item = &'a str> {
        let broker = self.is_broker_enabled.then_some(BROKER_CONNECTOR);
        self.connectors.iter().copied().chain(broker)
    }
}
