//! From the tree of the file to the plan: what several keys together mean, and what must hold between sections.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::diagnostic::Findings;
use super::file::Table;
use super::plan::{BROKER_CONNECTOR, ConnectorPlan, ConsolePlan, Plan};
use super::section::Section;
use super::{plan, settings};
use material::Material;

mod acl;
mod address;
mod announcement;
mod bind;
mod broker;
mod connector;
pub(super) mod derived;
mod duplicates;
mod flow;
mod identity;
mod loops;
pub(super) mod material;
mod names;
mod outbox;
mod preset;
mod proxy;
mod tls;

use names::Names;

/// Makes the plan; it is worth nothing when `findings` has errors afterwards.
pub(super) fn resolve(root: &Table, material: &Material, findings: &mut Findings) -> Plan {
    let root = Section::root(root);
    let names = Names::of(&root);
    let flows = flow::resolve(&root, &names, findings);
    let connectors = connector::resolve(&root, &flows, material, findings);
    let broker = broker::resolve(&root.table(&settings::BROKER), material, findings);
    let console = console(&root.table(&settings::CONSOLE), findings);

    let connectors = with_local(connectors, broker.is_some());
    preset::check(&root, &flows, &connectors, findings);
    loops::check(&flows, &connectors, broker.as_ref(), findings);
    duplicates::check(&flows, &connectors, findings);
    flow::check_retain(&flows, &connectors, findings);
    flow::check_disabled(&flows, &connectors, findings);
    let flows = flows.into_iter().map(|flow| (flow.name, flow.plan)).collect();
    Plan { environment: None, connectors, flows, broker, console, files: BTreeSet::new() }
}

fn with_local(
    mut connectors: BTreeMap<String, ConnectorPlan>,
    has_broker: bool,
) -> BTreeMap<String, ConnectorPlan> {
    if has_broker {
        connectors.insert(BROKER_CONNECTOR.to_owned(), ConnectorPlan::Local);
    }
    connectors
}

fn console(section: &Section<'_>, findings: &mut Findings) -> Option<ConsolePlan> {
    if section.flag(&settings::CONSOLE_ENABLED) == Some(false) {
        return None;
    }
    let bind = section.text_or_default(&settings::CONSOLE_BIND);
    let place = Place {
        path: section.path_of(&settings::CONSOLE_BIND),
        span: section.span_of(&settings::CONSOLE_BIND),
    };
    let (bind, port) = bind::parse(bind, 8080, &place, findings)?;
    let is_written = section.has(&settings::CONSOLE_BIND);
    if !section.entries().is_empty() || !section.span.is_empty() {
        let finding =
            findings.warning(&section.span, "`console` is checked, but this version does not run it yet");
        finding
            .label("not run")
            .help("nothing to do; to silence this, write enabled = false under [console]");
    }
    Some(ConsolePlan { bind, port: if is_written { port } else { plan::PortChoice::Default } })
}

/// A value's key path and place, for messages.
struct Place {
    path: String,
    span: Range<usize>,
}
