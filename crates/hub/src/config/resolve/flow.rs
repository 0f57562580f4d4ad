//! `[flow.NAME]`.

use std::collections::BTreeMap;
use std::ops::Range;

use crosspoint_protocol::{QoS, TopicFilter, Version};

use super::super::diagnostic::Findings;
use super::super::plan::{BridgeWish, ConnectorPlan, FlowPlan, Loops, Protocol, SinkPlan, SourcePlan};
use super::super::section::{Section, Text};
use super::super::setting::Setting;
use super::super::settings::{self, flow as keys};
use super::super::template::Template;
use super::names::Names;

/// A flow and the places of its parts.
pub(super) struct Flow {
    pub(super) name: String,
    pub(super) plan: FlowPlan,
    pub(super) span: Range<usize>,
    /// One for each topic of the source.
    pub(super) topic_spans: Vec<Range<usize>>,
    /// One for each sink.
    pub(super) sink_spans: Vec<Range<usize>>,
}

/// Resolves every flow of the file, leaving out what has errors.
pub(super) fn resolve(root: &Section<'_>, names: &Names<'_>, findings: &mut Findings) -> Vec<Flow> {
    let sections = root.named(&settings::FLOW);
    sections.into_iter().filter_map(|(name, section)| flow(name, &section, names, findings)).collect()
}

fn flow(name: &str, section: &Section<'_>, names: &Names<'_>, findings: &mut Findings) -> Option<Flow> {
    let source = source(section, names, findings);
    let sinks = sinks(section, names, findings);
    let (source, topic_spans) = source?;
    let (sinks, sink_spans): (Vec<_>, Vec<_>) = sinks.into_iter().unzip();
    for (sink, span) in sinks.iter().zip(&sink_spans) {
        check_levels(&source, sink, span, findings);
    }
    let loops = match section.flag(&keys::ALLOW_LOOP) {
        Some(true) => Loops::Allowed,
        _ => Loops::Refused,
    };
    let plan = FlowPlan { source, sinks, loops };
    Some(Flow { name: name.to_owned(), plan, span: section.span.clone(), topic_spans, sink_spans })
}

fn source(
    flow: &Section<'_>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<(SourcePlan, Vec<Range<usize>>)> {
    let section = flow.table(&keys::FROM);
    if !flow.has(&keys::FROM) {
        let finding =
            findings.error(&flow.span, format!("`{}` has no source", flow.path)).label("`from` is missing");
        finding.help("write from = { connector = \"NAME\", topics = [\"sensors/#\"] }");
    }
    if !flow.has_table(&keys::FROM) {
        return None;
    }
    let connector = connector(&section, &keys::FROM_CONNECTOR, names, findings);
    let topics = topics(&section, findings);
    let (topics, spans): (Vec<_>, Vec<_>) = topics.into_iter().unzip();
    let qos = qos_of(section.integer(&keys::FROM_QOS));
    (!topics.is_empty()).then_some(())?;
    Some((SourcePlan { connector: connector?, topics, qos }, spans))
}

fn topics(section: &Section<'_>, findings: &mut Findings) -> Vec<(TopicFilter, Range<usize>)> {
    let path = section.path_of(&keys::FROM_TOPICS);
    let texts = section.texts(&keys::FROM_TOPICS);
    if section.lacks(&keys::FROM_TOPICS) {
        let finding =
            findings.error(&section.span_of(&keys::FROM_TOPICS), format!("`{path}` names no topic"));
        finding.label("nothing to subscribe to").help("write topics = [\"sensors/#\"]");
    }
    texts.into_iter().filter_map(|text| Some((filter(text, &path, findings)?, text.span.clone()))).collect()
}

fn filter(text: Text<'_>, path: &str, findings: &mut Findings) -> Option<TopicFilter> {
    let error = match TopicFilter::parse(text.text.to_owned()) {
        Ok(filter) => return Some(filter),
        Err(error) => error,
    };
    let finding = findings.error(text.span, format!("`{path}`: {error}")).label("not a topic filter");
    finding.help(match error.at {
        0 => "write a filter such as \"sensors/+/temperature\" or \"sensors/#\"".to_owned(),
        at => {
            let fault = text.text.get(..at).map_or(0, |before| before.chars().count()) + 1;
            format!(
                "see character {fault}; `+` stands for one whole level, `#` for all that follow, at the end"
            )
        }
    });
    None
}

fn sinks(flow: &Section<'_>, names: &Names<'_>, findings: &mut Findings) -> Vec<(SinkPlan, Range<usize>)> {
    let sections = flow.tables(&keys::TO);
    if flow.lacks(&keys::TO) {
        let finding = findings.error(&flow.key_span_of(&keys::TO), format!("`{}` has no sink", flow.path));
        finding.label("`to` is missing or empty").help("write to = [{ connector = \"NAME\" }]");
    }
    let sink = |section: Section<'_>| Some((sink(&section, names, findings)?, section.span));
    sections.into_iter().filter_map(sink).collect()
}

fn sink(section: &Section<'_>, names: &Names<'_>, findings: &mut Findings) -> Option<SinkPlan> {
    let connector = connector(section, &keys::TO_CONNECTOR, names, findings);
    let topic = topic(section, findings);
    Some(SinkPlan {
        connector: connector?,
        topic: topic?,
        qos: section.integer(&keys::TO_QOS).map(|qos| qos_of(Some(qos))),
        retain: section.flag(&keys::TO_RETAIN),
    })
}

fn topic(section: &Section<'_>, findings: &mut Findings) -> Option<Template> {
    let Some(text) = section.text(&keys::TO_TOPIC) else { return Some(Template::unchanged()) };
    let path = section.path_of(&keys::TO_TOPIC);
    let report = |error: super::super::template::InvalidTemplate| {
        let span = inside(text.span, text.text, &error.at, findings);
        findings.error(&span, format!("`{path}`: {}", error.what)).label("here").help(error.help);
    };
    Template::parse(text.text).map_err(report).ok()
}

/// Narrows a place to a part of the text, where the text is written without escapes.
fn inside(span: &Range<usize>, text: &str, part: &Range<usize>, findings: &Findings) -> Range<usize> {
    let written = span.start + 1..span.start + 1 + text.len();
    if findings.text().get(written.clone()) == Some(text) && !part.is_empty() {
        return written.start + part.start..written.start + part.end;
    }
    span.clone()
}

fn connector(
    section: &Section<'_>,
    setting: &Setting,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<String> {
    let path = section.path_of(setting);
    let Some(name) = section.text(setting) else {
        if !section.has(setting) {
            let finding = findings.error(&section.span, format!("`{path}` is missing")).label("no connector");
            finding.help("write connector = \"NAME\"; \"broker\" is the embedded broker");
        }
        return None;
    };
    names.check(name, &path, findings);
    Some(name.text.to_owned())
}

/// Reports a template that asks for levels which no message of the source can have.
fn check_levels(source: &SourcePlan, sink: &SinkPlan, span: &Range<usize>, findings: &mut Findings) {
    for filter in &source.topics {
        if sink.topic.widen(filter, &source.connector).is_some() {
            continue;
        }
        let message = format!("the topic `{}` asks for a level that `{filter}` does not have", sink.topic);
        let finding = findings.error(span, message).label("can never be filled");
        finding.help("levels are counted from 0: {topic[0]} is the first");
        return;
    }
}

/// Warns where live retained messages will arrive without their flag and nothing is said about it.
pub(super) fn check_retain(
    flows: &[Flow],
    connectors: &BTreeMap<String, ConnectorPlan>,
    findings: &mut Findings,
) {
    for flow in flows {
        let Some(ConnectorPlan::Mqtt(source)) = connectors.get(&flow.plan.source.connector) else { continue };
        let Protocol::Only(version @ (Version::V3_1 | Version::V3_1_1)) = source.protocol else { continue };
        let undecided = flow.plan.sinks.iter().zip(&flow.sink_spans).find(|(sink, _)| sink.retain.is_none());
        let Some((_, span)) = undecided else { continue };
        let all = flows.iter().map(|flow| (flow.name.as_str(), &flow.plan));
        let loses = match BridgeWish::of(&flow.plan.source.connector, source, all) {
            BridgeWish::Harmful(harm) => {
                format!(
                    "loses the retain flag: with MQTT {version} a broker forwards live messages without it, but to a bridge, and the connector is none since {harm}"
                )
            }
            _ => format!(
                "may lose the retain flag: with MQTT {version} a broker forwards live messages without it, unless it knows bridges (mosquitto, EMQX and VerneMQ do)"
            ),
        };
        let message = format!("`flow.{}` {loses}", flow.name);
        let finding = findings.warning(span, message).label("`retain` is not written");
        finding.help("write retain = true or retain = false here, or protocol = \"5.0\" at the source");
    }
}

/// Warns of flows that stand still because a connector is disabled.
pub(super) fn check_disabled(
    flows: &[Flow],
    connectors: &BTreeMap<String, ConnectorPlan>,
    findings: &mut Findings,
) {
    for flow in flows {
        let source = std::iter::once(&flow.plan.source.connector);
        let mut names = source.chain(flow.plan.sinks.iter().map(|sink| &sink.connector));
        let is_disabled = |name: &&String| matches!(connectors.get(*name), Some(ConnectorPlan::Mqtt(mqtt)) if !mqtt.enabled);
        let Some(disabled) = names.find(is_disabled) else { continue };
        let message = format!("`flow.{}` does not run: connector \"{disabled}\" is disabled", flow.name);
        let finding = findings.warning(&flow.span, message).label("stands still");
        finding.help(format!(
            "enable the connector with connector.{disabled}.enabled = true, or remove the flow"
        ));
    }
}

/// Returns the QoS of a number that is known to be 0, 1 or 2.
pub(super) fn qos_of(number: Option<i64>) -> QoS {
    let bits = number.and_then(|number| u8::try_from(number).ok());
    bits.and_then(QoS::from_bits).unwrap_or_default()
}
