//! Names crossing filters of one connector: with MQTT 3.x a broker may deliver a message once for each.

use std::collections::BTreeMap;
use std::ops::Range;

use crosspoint_protocol::{TopicFilter, Version};

use super::super::diagnostic::Findings;
use super::super::plan::{ConnectorPlan, Protocol};
use super::flow::Flow;

/// A filter of a flow and its place.
struct Read<'a> {
    flow: &'a str,
    filter: &'a TopicFilter,
    span: &'a Range<usize>,
}

/// Warns of filters that overlap without one covering the other, where the version may be 3.x.
pub(super) fn check(flows: &[Flow], connectors: &BTreeMap<String, ConnectorPlan>, findings: &mut Findings) {
    for (name, connector) in connectors {
        let ConnectorPlan::Mqtt(mqtt) = connector else { continue };
        if mqtt.protocol == Protocol::Only(Version::V5) {
            continue;
        }
        let reads = reads(name, flows);
        for (index, read) in reads.iter().enumerate() {
            let Some(other) = reads.iter().take(index).find(|other| are_crossing(read.filter, other.filter))
            else {
                continue;
            };
            report(name, read, other, findings);
        }
    }
}

fn reads<'a>(connector: &str, flows: &'a [Flow]) -> Vec<Read<'a>> {
    let mut reads = Vec::new();
    for flow in flows.iter().filter(|flow| flow.plan.source.connector == connector) {
        for (filter, span) in flow.plan.source.topics.iter().zip(&flow.topic_spans) {
            reads.push(Read { flow: &flow.name, filter, span });
        }
    }
    reads
}

fn are_crossing(a: &TopicFilter, b: &TopicFilter) -> bool {
    !a.is_shared() && !b.is_shared() && a.overlaps(b) && !a.covers(b) && !b.covers(a)
}

fn report(connector: &str, read: &Read<'_>, other: &Read<'_>, findings: &mut Findings) {
    let message = format!(
        "`{}` and `{}` cross on connector \"{connector}\": with MQTT 3.x a message that matches both may come twice",
        read.filter, other.filter
    );
    let finding = findings.warning(read.span, message);
    finding.label(format!("in flow \"{}\"", read.flow)).also(other.span, "crosses this one");
    finding.help("write one filter that covers both, or protocol = \"5.0\" if the broker speaks it");
}
