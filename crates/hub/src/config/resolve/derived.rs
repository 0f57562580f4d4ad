//! What keys that are not written are in effect when that depends on other keys.

use super::super::plan::{ConnectorPlan, Durability, ListenerPlan, MqttPlan, Plan, SessionKind};
use super::super::settings::{self, broker, connector};

/// Returns the value of a key that is not written, as it would be written; `None` where it does not depend on others.
pub(in super::super) fn value(plan: &Plan, keys: &[&str]) -> Option<String> {
    match keys {
        [section, name, key] if *section == settings::CONNECTOR.key => match plan.connectors.get(*name)? {
            ConnectorPlan::Mqtt(mqtt) => of_connector(mqtt, key),
            ConnectorPlan::Local => None,
        },
        [section, name, table, key] if *section == settings::CONNECTOR.key => {
            match plan.connectors.get(*name)? {
                ConnectorPlan::Mqtt(mqtt)
                    if (*table, *key) == (connector::CANARY.key, connector::CANARY_TOPIC.key) =>
                {
                    mqtt.canary.as_ref().map(|canary| format!("{:?}", canary.topic.as_str()))
                }
                _ => None,
            }
        }
        [section, table, name, key] if (*section, *table) == (settings::BROKER.key, broker::LISTENER.key) => {
            of_listener(plan.broker.as_ref()?.listeners.get(*name)?, key)
        }
        _ => None,
    }
}

/// Of several addresses the first one is meant, which is tried first.
fn of_connector(mqtt: &MqttPlan, key: &str) -> Option<String> {
    let address = mqtt.addresses.first()?;
    if key == connector::SESSION.key {
        let word = if mqtt.session == SessionKind::Durable { "durable" } else { "clean" };
        Some(format!("\"{word}\""))
    } else if key == connector::HOST.key {
        Some(format!("{:?}", address.host))
    } else if key == connector::PORT.key {
        Some(address.port.to_string())
    } else if key == connector::TRANSPORT.key {
        Some(format!("\"{}\"", address.transport.as_str()))
    } else if key == connector::PATH.key {
        address.transport.is_websocket().then(|| format!("{:?}", address.path))
    } else {
        None
    }
}

fn of_listener(listener: &ListenerPlan, key: &str) -> Option<String> {
    if key == broker::LISTENER_ANONYMOUS.key {
        Some(listener.anonymous.to_string())
    } else if key == broker::LISTENER_DURABILITY.key {
        let word = match listener.durability {
            Durability::Synced => "synced",
            Durability::Written => "written",
            Durability::Memory => "memory",
        };
        Some(format!("\"{word}\""))
    } else {
        None
    }
}
