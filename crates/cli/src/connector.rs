//! A connector of the project file as the broker of `pub` and `sub`.

use std::path::Path;

use crosspoint_client::{ClientOptions, Protocol, Version};
use crosspoint_hub::{
    config::{
        self, Colour,
        plan::{self, ConnectorPlan, Plan},
    },
    connect::visiting_options,
    secret::KeySource,
};

use crate::failure::Failure;

/// A connector's broker, visited by a client of our own.
pub(crate) struct Visited {
    pub(crate) options: ClientOptions,
    pub(crate) protocol: Protocol,
    /// The client id that the connector itself has in the project file.
    pub(crate) client_id: Option<String>,
}

/// Returns how to reach the broker of a connector, as a client of its own: without the connector's client id, session
/// and will, so that a running hub is not disturbed.
///
/// # Errors
/// The project file is wrong, or has no such connector of kind `mqtt`.
pub(crate) fn options(
    name: &str,
    project: &Path,
    env: Option<&str>,
    key: &KeySource,
) -> Result<Visited, Failure> {
    let plan = load(project, env, key)?;
    let mqtt = match plan.connectors.get(name) {
        Some(ConnectorPlan::Mqtt(mqtt)) => mqtt,
        Some(ConnectorPlan::Local) => {
            let cause =
                format!("connector {name} is the embedded broker, which has no address of its own here");
            return Err(Failure::usage(cause, "give the address of a listener of it, with -h and -p"));
        }
        None => return Err(no_such(name, &plan, project)),
    };
    Ok(Visited {
        options: visiting_options(mqtt),
        protocol: protocol(mqtt.protocol),
        client_id: mqtt.client_id.clone(),
    })
}

/// Tells whether a connector is the embedded broker.
///
/// # Errors
/// The project file is wrong, or has no such connector.
pub(crate) fn is_embedded(
    name: &str,
    project: &Path,
    env: Option<&str>,
    key: &KeySource,
) -> Result<bool, Failure> {
    let plan = load(project, env, key)?;
    match plan.connectors.get(name) {
        Some(connector) => Ok(matches!(connector, ConnectorPlan::Local)),
        None => Err(no_such(name, &plan, project)),
    }
}

fn load(project: &Path, env: Option<&str>, key: &KeySource) -> Result<Plan, Failure> {
    let (plan, _warnings) = config::load_with(project, env, key).map_err(|diagnostics| {
        let rendered: Vec<String> =
            diagnostics.iter().map(|diagnostic| diagnostic.render(Colour::Never)).collect();
        let cause = format!("the project file {} cannot be used\n{}", project.display(), rendered.join("\n"));
        Failure::usage(cause, "correct it, or name another with --project")
    })?;
    Ok(plan)
}

fn no_such(name: &str, plan: &Plan, project: &Path) -> Failure {
    let is_mqtt = |connector: &&ConnectorPlan| matches!(connector, ConnectorPlan::Mqtt(_));
    let known: Vec<&str> = plan
        .connectors
        .iter()
        .filter(|(_, connector)| is_mqtt(connector))
        .map(|(name, _)| name.as_str())
        .collect();
    let known = if known.is_empty() { "none of kind mqtt".to_owned() } else { known.join(", ") };
    let cause = format!("{} has no connector {name}", project.display());
    Failure::usage(cause, format!("name one that it has: {known}"))
}

const fn protocol(protocol: plan::Protocol) -> Protocol {
    match protocol {
        plan::Protocol::Auto => Protocol::Auto,
        plan::Protocol::Only(Version::V5) => Protocol::V5,
        plan::Protocol::Only(Version::V3_1_1) => Protocol::V3_1_1,
        plan::Protocol::Only(Version::V3_1) => Protocol::V3_1,
    }
}
