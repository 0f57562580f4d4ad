//! Whether a connector tries the bridge bit where its broker speaks no more than MQTT 3.1.1.
//!
//! A broker that takes it sends live messages with their retain flag, and nothing of what the connector publishes. The
//! second is the price of the first, so it is paid only where the first is wanted and nobody misses anything.

use std::fmt;

use crosspoint_protocol::{TopicFilter, Version};

use super::{FlowPlan, Loops, MqttPlan, Protocol};

/// Whether a connector tries the bridge bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BridgeWish {
    /// Nothing that reads from the connector has use for it.
    Useless,
    /// It is tried.
    Tried,
    /// It is not: something waits for what the connector publishes itself.
    Harmful(Harm),
}

/// What would not come any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Harm {
    /// The canary.
    Canary,
    /// A message that the connector says of itself, to a flow.
    Announcement { flow: String },
    /// What a flow writes to the connector, to a flow that reads it there.
    Chain { writes: String, reads: String },
}

impl BridgeWish {
    /// Returns what holds for a connector, given all flows that run.
    pub(crate) fn of<'a>(
        connector: &str,
        mqtt: &MqttPlan,
        flows: impl Iterator<Item = (&'a str, &'a FlowPlan)> + Clone,
    ) -> Self {
        let mut readers = flows.clone().filter(|(_, flow)| flow.source.connector == connector);
        let is_useful = readers.clone().any(|(_, flow)| {
            flow.loops == Loops::Allowed || flow.sinks.iter().any(|sink| sink.retain.is_none())
        });
        if !is_useful || mqtt.protocol == Protocol::Only(Version::V5) {
            return Self::Useless;
        }
        let harm = readers.find_map(|reader| harm_to(reader, connector, mqtt, flows.clone()));
        let canary = mqtt.canary.is_some().then_some(Harm::Canary);
        canary.or(harm).map_or(Self::Tried, Self::Harmful)
    }
}

/// Returns what a flow would not get any more. One that allows loops does not listen to us anyway.
fn harm_to<'a>(
    (name, flow): (&str, &FlowPlan),
    connector: &str,
    mqtt: &MqttPlan,
    flows: impl Iterator<Item = (&'a str, &'a FlowPlan)>,
) -> Option<Harm> {
    if flow.loops == Loops::Allowed {
        return None;
    }
    let topics = &flow.source.topics;
    let mut said = [&mqtt.birth, &mqtt.close].into_iter().flatten();
    if said.any(|said| topics.iter().any(|filter| filter.matches(said.topic.as_str()))) {
        return Some(Harm::Announcement { flow: name.to_owned() });
    }
    let mut writers = flows.filter(|(_, writer)| {
        let sinks = writer.sinks.iter().filter(|sink| sink.connector == connector);
        let mut written = sinks.flat_map(|sink| {
            writer.source.topics.iter().filter_map(|from| sink.topic.widen(from, &writer.source.connector))
        });
        written.any(|written: TopicFilter| topics.iter().any(|read| read.overlaps(&written)))
    });
    writers.next().map(|(writes, _)| Harm::Chain { writes: writes.to_owned(), reads: name.to_owned() })
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary => f.write_str("the canary would not come back"),
            Self::Announcement { flow } => write!(f, "`flow.{flow}` reads what the connector says of itself"),
            Self::Chain { writes, reads } => {
                write!(f, "`flow.{reads}` reads what `flow.{writes}` writes there")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConnectorPlan;
    use super::*;
    use crate::config::parse;

    /// Returns what holds for `a` where a flow reads `in/#` from it.
    fn wish(keys: &str, sink: &str, more: &str) -> String {
        let text = format!(
            "[connector.a]\nurl = \"mqtt://a\"\n{keys}\n[connector.b]\nurl = \"mqtt://b\"\n\
             [flow.over]\nfrom = {{ connector = \"a\", topics = [\"in/#\"] }}\nto = [{{ connector = \"b\"{sink} }}]\n{more}"
        );
        let (plan, _) = parse(&text, "crosspoint.toml", None).unwrap();
        let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!() };
        let flows = plan.flows.iter().map(|(name, flow)| (name.as_str(), flow));
        match BridgeWish::of("a", mqtt, flows) {
            BridgeWish::Harmful(harm) => harm.to_string(),
            wish => format!("{wish:?}"),
        }
    }

    #[test]
    fn the_bit_is_tried_where_it_helps() {
        assert_eq!(wish("", "", ""), "Tried");
        assert_eq!(wish("protocol = \"3.1\"", "", ""), "Tried");
        assert_eq!(wish("protocol = \"5.0\"", "", ""), "Useless");
        assert_eq!(wish("", ", retain = false", ""), "Useless");
        assert_eq!(wish("", ", retain = false", "allow_loop = true"), "Tried");
    }

    #[test]
    fn the_bit_is_not_tried_where_somebody_waits_for_our_own() {
        let back = |topic: &str| {
            format!(
                "[flow.back]\nfrom = {{ connector = \"b\", topics = [\"x\"] }}\n\
                 to = [{{ connector = \"a\", topic = \"{topic}\" }}]\n"
            )
        };
        assert_eq!(wish("", "", &back("out/x")), "Tried");
        assert_eq!(wish("", "", &back("in/{topic}")), "`flow.over` reads what `flow.back` writes there");
        let mirrored = format!("allow_loop = true\n{}", back("in/{topic}"));
        assert_eq!(wish("", "", &mirrored), "Tried", "that is what it is for");
        assert_eq!(wish("canary = {}", "", ""), "the canary would not come back");
        let birth = |topic: &str| format!("birth = {{ topic = \"{topic}\", payload = \"1\" }}");
        assert_eq!(wish(&birth("in/here"), "", ""), "`flow.over` reads what the connector says of itself");
        assert_eq!(wish(&birth("here"), "", ""), "Tried");
    }
}
