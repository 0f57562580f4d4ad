//! Eclipse Mosquitto: `mosquitto.conf`, its include folder, password files, ACL files and bridges.
//!
//! What comes out replaces that Mosquitto. A listener that could only be imported by letting more in than Mosquitto
//! does is left out, and named.

mod accounts;
mod bridge;
mod lines;
mod listener;
mod reasons;

use crate::config::settings::{BROKER, broker as keys};

use super::draft::Section;
use super::{Import, ImportError};
use lines::{Block, Line};

/// Reads the configuration.
pub(super) fn read(import: &mut Import<'_>) -> Result<(), ImportError> {
    let mut conf = lines::read(import)?;
    import.draft.preface = vec![
        format!("Made of {} by `crosspoint import mosquitto`.", import.name()),
        "Paths of certificates and keys are those of the Mosquitto: this program must be allowed to read them.".to_owned(),
    ];
    let mut broker = Section::new(&[BROKER.key]);
    let connections_max = connections_max(&conf.listeners, &mut conf.general);
    limits(import, &mut broker, &mut conf.general, connections_max);
    let position = import.draft.reserve();
    let opened = listener::read(import, &mut conf)?;
    if let Some(roles) = opened.anonymous_roles {
        broker.comment("Clients without a name have the rules before the first user of the ACL file.");
        broker.set(&keys::ANONYMOUS_ROLES, roles);
    }
    if !opened.has_listener {
        broker.comment("No listener could be carried over, so the embedded broker is off.");
        broker.set(&keys::ENABLED, false);
    }
    import.draft.fill(position, broker);
    let general = std::mem::take(&mut conf.general);
    bridge::read(import, &mut conf.bridges, opened.has_listener);
    leftovers(import, general);
    Ok(())
}

/// Names every line that nothing has taken.
fn leftovers(import: &mut Import<'_>, mut block: Block) {
    for line in block.rest() {
        let why = reasons::of(&line.key);
        if let Some(why) = why {
            import.left_out(line.at, format!("`{}`", line.key), why);
        } else {
            import.left_out(
                line.at,
                format!("`{}`", line.key),
                "it is no key of mosquitto.conf that is known here",
            );
        }
    }
}

/// Returns how many connections all listeners together allow; `None` when one of them does not say.
fn connections_max(listeners: &[Block], general: &mut Block) -> Option<(String, i64)> {
    if let Some(line) = general.take(&["global_max_connections"]) {
        return line.value.parse().ok().filter(|max| *max > 0).map(|max| (line.at, max));
    }
    let mut sum = 0_i64;
    let mut at = String::new();
    for listener in listeners {
        let line = listener.find(&["max_connections"])?;
        let max: i64 = line.value.parse().ok().filter(|max| *max > 0)?;
        sum = sum.saturating_add(max);
        at.clone_from(&line.at);
    }
    (sum > 0).then_some((at, sum))
}

fn limits(
    import: &mut Import<'_>,
    broker: &mut Section,
    general: &mut Block,
    connections: Option<(String, i64)>,
) {
    if let Some((at, max)) = connections {
        import.integer(broker, &keys::CONNECTIONS_MAX, max, &at);
    }
    for (key, setting) in [
        ("max_packet_size", &keys::PACKET_BYTES_MAX),
        ("max_queued_messages", &keys::SESSION_QUEUE_MESSAGES),
        ("max_queued_bytes", &keys::SESSION_QUEUE_BYTES),
        ("max_inflight_messages", &keys::IN_FLIGHT_MAX),
        ("max_keepalive", &keys::KEEP_ALIVE_MAX_S),
    ] {
        let Some(line) = general.take(&[key]) else { continue };
        match line.value.parse::<i64>() {
            Ok(0) if key != "max_keepalive" => {
                let why = format!("0 is no limit there; here `{}` is its default", setting.key);
                import.changed(line.at, format!("`{key} 0`"), why);
            }
            Ok(number) => {
                import.integer(broker, setting, number, &line.at);
                if key == "max_queued_messages" {
                    let why = "a full queue drops its oldest message here, the newest there";
                    import.changed(line.at, format!("`{key}`"), why);
                }
            }
            Err(_) => not_a_number(import, &line),
        }
    }
    message_size(import, broker, general);
    if let Some(line) = general.take(&["persistent_client_expiration"]) {
        match seconds_of(&line.value) {
            Some(seconds) => import.integer(broker, &keys::SESSION_EXPIRY_MAX_S, seconds, &line.at),
            None => import.left_out(
                line.at,
                "`persistent_client_expiration`",
                "it is no number with h, d, w, m or y",
            ),
        }
    }
    persistence(import, broker, general);
}

/// The limit there is one of payloads, here of packets: a topic and some properties are added.
fn message_size(import: &mut Import<'_>, broker: &mut Section, general: &mut Block) {
    let Some(line) = general.take(&["message_size_limit"]) else { return };
    match line.value.parse::<i64>() {
        Ok(0) => {}
        Ok(bytes) if !broker.has(&keys::PACKET_BYTES_MAX) => {
            import.integer(broker, &keys::PACKET_BYTES_MAX, bytes.saturating_add(65_535), &line.at);
            let why = "the limit is of whole packets here: 65,535 bytes are added for the topic";
            import.changed(line.at, "`message_size_limit`", why);
        }
        Ok(_) => import.left_out(
            line.at,
            "`message_size_limit`",
            "`max_packet_size` is the limit that is carried over",
        ),
        Err(_) => not_a_number(import, &line),
    }
}

fn persistence(import: &mut Import<'_>, broker: &mut Section, general: &mut Block) {
    if let Some(line) = general.find(&["persistence"]).cloned() {
        if general.take_flag("persistence") == Some(false) {
            broker.set(&keys::DURABILITY, "memory");
        } else {
            broker.set(&keys::DURABILITY, "synced");
            let why = "each message is on disk before it is acknowledged; what Mosquitto's own database holds stays there";
            import.changed(line.at, "`persistence true`", why);
        }
    }
}

fn not_a_number(import: &mut Import<'_>, line: &Line) {
    import.left_out(&line.at, format!("`{}`", line.key), "what follows is not a number");
}

/// Reads a time such as `14d`: hours, days, weeks, months of 30 days, years of 365.
fn seconds_of(text: &str) -> Option<i64> {
    let (number, unit) = text.trim().split_at(text.trim().len().checked_sub(1)?);
    let seconds = match unit {
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "m" => 2_592_000,
        "y" => 31_536_000,
        _ => return None,
    };
    number.trim().parse::<i64>().ok().filter(|number| *number > 0)?.checked_mul(seconds)
}
