//! What the broker of a preset asks for and what it does not do, held against the plan.

use std::collections::BTreeMap;

use crosspoint_protocol::QoS;

use super::super::diagnostic::Findings;
use super::super::plan::{ConnectorPlan, MqttPlan};
use super::super::preset::{Credentials, Host, Preset};
use super::super::section::Section;
use super::super::settings::{self, connector as keys};
use super::super::suggest::{grouped, listed};
use super::flow::Flow;

/// Returns the preset that a connector names.
pub(super) fn of(section: &Section<'_>) -> Option<&'static Preset> {
    Preset::of_name(section.text(&keys::PRESET)?.text)
}

/// Reports what is missing for the broker of a preset, and what it will not do.
pub(super) fn check(
    root: &Section<'_>,
    flows: &[Flow],
    connectors: &BTreeMap<String, ConnectorPlan>,
    findings: &mut Findings,
) {
    for (name, section) in root.named(&settings::CONNECTOR) {
        let (Some(preset), Some(ConnectorPlan::Mqtt(mqtt))) = (of(&section), connectors.get(name)) else {
            continue;
        };
        check_port(&section, preset, findings);
        check_transport(&section, preset, mqtt, findings);
        check_credentials(&section, preset, mqtt, findings);
        check_keep_alive(&section, preset, mqtt, findings);
        check_qos(name, preset, flows, findings);
    }
}

/// Says what to write where a preset cannot know the host.
pub(super) fn host_help(preset: &Preset) -> String {
    let (Host::Own(example) | Host::Fixed(example)) = preset.host;
    format!("write the host of your account at {}, such as host = \"{example}\"", preset.title)
}

fn check_port(section: &Section<'_>, preset: &Preset, findings: &mut Findings) {
    let transport = section.text(&keys::TRANSPORT).map(|text| text.text);
    let has_own = preset.offer(transport).is_some_and(|offer| offer.port.is_none());
    if !has_own || section.has(&keys::PORT) || !section.has(&keys::HOST) {
        return;
    }
    let message =
        format!("`{}` does not say the port: each customer of {} has others", section.path, preset.title);
    let finding = findings.error(&section.span_of(&keys::PRESET), message).label("`port` is missing");
    finding.help("write the port that the page of your instance shows for this transport");
}

fn check_transport(section: &Section<'_>, preset: &Preset, mqtt: &MqttPlan, findings: &mut Findings) {
    let words: Vec<&str> = preset.offers.iter().map(|offer| offer.transport).collect();
    let Some(address) = mqtt.addresses.iter().find(|address| !words.contains(&address.transport.as_str()))
    else {
        return;
    };
    let written = if section.has(&keys::URL) { &keys::URL } else { &keys::TRANSPORT };
    let message = format!(
        "`{}` asks for \"{}\", which {} does not offer",
        section.path_of(written),
        address.transport.as_str(),
        preset.title
    );
    let finding = findings.warning(&section.span_of(written), message).label("not offered there");
    finding.help(format!("it offers {}", listed(&words)));
}

fn check_credentials(section: &Section<'_>, preset: &Preset, mqtt: &MqttPlan, findings: &mut Findings) {
    let has_password = section.has(&keys::USERNAME) && section.has(&keys::PASSWORD);
    let has_certificate =
        mqtt.tls.identity.is_some() || !section.table(&keys::TLS).lacks(&keys::TLS_CERTIFICATE);
    let (label, help) = match preset.credentials {
        Credentials::Password if !has_password => {
            ("`username` and `password` are missing", "write username = \"...\" and password = \"env:NAME\"")
        }
        Credentials::Certificate if !has_certificate && !has_password => (
            "a client certificate is missing",
            "write tls.certificate = \"FILE.pem\" and tls.key = \"FILE.key\"; username and password work only where the account has custom authentication",
        ),
        _ => return,
    };
    let message =
        format!("`{}` has no credentials, and {} lets nobody in without", section.path, preset.title);
    findings.error(&section.span_of(&keys::PRESET), message).label(label).help(help);
}

fn check_keep_alive(section: &Section<'_>, preset: &Preset, mqtt: &MqttPlan, findings: &mut Findings) {
    let (seconds, max) = (mqtt.keep_alive.as_secs(), u64::from(preset.keep_alive_s_max));
    if max == u64::from(u16::MAX) || (1..=max).contains(&seconds) {
        return;
    }
    let message = format!("`{}` is more than {} takes", section.path_of(&keys::KEEP_ALIVE_S), preset.title);
    let max = grouped(i64::from(preset.keep_alive_s_max));
    let finding = findings.warning(&section.span_of(&keys::KEEP_ALIVE_S), message);
    finding
        .label(format!("not 1 to {max}"))
        .help(format!("write {max} or less, or remove the key (default: 60)"));
}

fn check_qos(name: &str, preset: &Preset, flows: &[Flow], findings: &mut Findings) {
    if preset.qos_max >= 2 {
        return;
    }
    for flow in flows {
        let reads = flow.plan.source.connector == name && flow.plan.source.qos == QoS::ExactlyOnce;
        if reads {
            let message = format!(
                "`flow.{}` reads at QoS 2 from {}, which has QoS 0 and 1 only",
                flow.name, preset.title
            );
            findings
                .warning(&flow.span, message)
                .label("QoS 1 is what comes")
                .help("write qos = 1 in `from`");
        }
        let exactly_once = |qos: Option<QoS>| qos.unwrap_or(flow.plan.source.qos) == QoS::ExactlyOnce;
        let mut sinks = flow.plan.sinks.iter().zip(&flow.sink_spans);
        let Some((_, span)) = sinks.find(|(sink, _)| sink.connector == name && exactly_once(sink.qos)) else {
            continue;
        };
        let message =
            format!("`flow.{}` writes at QoS 2 to {}, which has QoS 0 and 1 only", flow.name, preset.title);
        findings.error(span, message).label("refused there").help("write qos = 1 here");
    }
}
