//! Whom the doctor looks at: a connector, every connector, or a URL.

use std::path::PathBuf;

use crosspoint_client::Transport;
use crosspoint_hub::DataDir;
use crosspoint_hub::config::plan::{Address, ConnectorPlan, Plan};
use crosspoint_hub::config::{self, Colour, Severity};
use crosspoint_hub::doctor::Patient;

use super::DoctorFlags;
use crate::check;
use crate::failure::Failure;
use crate::url::Url;

/// The name under which a URL is examined.
const OF_URL: &str = "url";

/// What was typed about the login at a URL.
#[derive(Debug, Default, clap::Args)]
pub(super) struct LoginFlags {
    /// The user name at a URL
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true, help_heading = "URL")]
    username: Option<String>,
    /// The password at a URL
    #[arg(
        short = 'P',
        long = "pw",
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        help_heading = "URL"
    )]
    password: Option<String>,
    /// Trust the certificates in this file (PEM) instead of those of the system
    #[arg(long, value_name = "FILE", help_heading = "URL")]
    cafile: Option<PathBuf>,
    /// Present the certificate in this file (PEM)
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "URL")]
    cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "URL")]
    key: Option<PathBuf>,
}

/// Whom to look at.
#[derive(Debug)]
pub(super) struct Target {
    /// Who is examined.
    pub(super) patients: Vec<Patient>,
    /// A sentence for each connector that is not.
    pub(super) passed_over: Vec<String>,
    /// Where they are from.
    pub(super) origin: Origin,
}

/// Where those who are examined are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// They are connectors of the project.
    Project,
    /// It is a broker in no project: what it is called there means nothing.
    Url,
}

/// Why nobody is looked at.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The project file has errors, which have been shown.
    Project,
    /// The command line is wrong.
    Usage(Failure),
}

/// Finds out whom to look at.
pub(super) fn of(flags: &DoctorFlags) -> Result<Target, Wrong> {
    match flags.target.as_deref() {
        Some(url) if url.contains("://") && flags.fix => Err(Wrong::Usage(nothing_to_fix())),
        Some(url) if url.contains("://") => of_url(url, &flags.login).map_err(Wrong::Usage),
        Some(text) if text.contains([':', '/']) => Err(Wrong::Usage(no_scheme(text))),
        target if flags.login.is_any() => Err(Wrong::Usage(no_login(target))),
        target => {
            let plan = check::load(
                &flags.project,
                flags.env.as_deref(),
                &flags.key.source(&DataDir::beside(&flags.project)),
            )
            .ok_or(Wrong::Project)?;
            match target {
                Some(name) => of_name(&plan, name).map_err(Wrong::Usage),
                None => Ok(all(&plan)),
            }
        }
    }
}

fn all(plan: &Plan) -> Target {
    let mut target = Target { patients: Vec::new(), passed_over: Vec::new(), origin: Origin::Project };
    for (name, connector) in &plan.connectors {
        match connector {
            ConnectorPlan::Mqtt(mqtt) if mqtt.enabled => target.patients.extend(Patient::of_plan(plan, name)),
            ConnectorPlan::Mqtt(_) => target.passed_over.push(format!("connector {name} is disabled")),
            ConnectorPlan::Local => {}
        }
    }
    if target.patients.is_empty() {
        target.passed_over.push("the project has no connector to another broker".to_owned());
    }
    target
}

fn of_name(plan: &Plan, name: &str) -> Result<Target, Failure> {
    match Patient::of_plan(plan, name) {
        Some(patient) => {
            Ok(Target { patients: vec![patient], passed_over: Vec::new(), origin: Origin::Project })
        }
        None if plan.connectors.contains_key(name) => Err(Failure::usage(
            format!("connector {name} is the embedded broker, to which there is no way through the network"),
            "name a URL of one of its listeners, such as mqtt://127.0.0.1:1883",
        )),
        None => {
            let is_mqtt = |connector: &ConnectorPlan| matches!(connector, ConnectorPlan::Mqtt(_));
            let known: Vec<&str> = plan
                .connectors
                .iter()
                .filter(|(_, kind)| is_mqtt(kind))
                .map(|(name, _)| name.as_str())
                .collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let cause = format!("the project has no connector {name}");
            Err(Failure::usage(cause, format!("name one that it has ({known}), or a URL with its ://")))
        }
    }
}

fn no_scheme(text: &str) -> Failure {
    Failure::usage(
        format!("{text:?} is neither the name of a connector nor a URL"),
        format!("write mqtt://{text}, or with TLS mqtts://{text}"),
    )
}

fn no_login(target: Option<&str>) -> Failure {
    let whose = target.map_or_else(|| "connectors".to_owned(), |name| format!("connector {name}"));
    Failure::usage(
        format!("user name, password and certificates of {whose} stand in the project file"),
        "leave the flags out, or give a URL",
    )
}

fn nothing_to_fix() -> Failure {
    Failure::usage(
        "--fix writes into the project file, and a URL is in none",
        "name a connector, or leave --fix out",
    )
}

/// Returns the address that a URL names.
///
/// # Errors
/// It cannot be used.
pub(super) fn address(text: &str) -> Result<Address, Failure> {
    let target = of_url(text, &LoginFlags::default())?;
    let mut addresses = target.patients.into_iter().flat_map(|patient| patient.mqtt.addresses);
    addresses.next().ok_or_else(|| Failure::usage("the URL names no address", "name host and port"))
}

/// Makes a project of a URL, so that it goes through the same checks as one that is written.
fn of_url(text: &str, login: &LoginFlags) -> Result<Target, Failure> {
    login.check_files()?;
    let url = Url::parse(text)
        .map_err(|what| Failure::usage(what, "write it like mqtts://broker.example.com:8883"))?;
    let (plan, _) = config::parse(&project(&url, login), "the URL", None).map_err(|findings| {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        let shown: Vec<String> = errors.map(|error| error.render(Colour::Never)).collect();
        Failure::usage(format!("the URL cannot be used\n{}", shown.join("\n")), "correct it")
    })?;
    Ok(Target { origin: Origin::Url, ..of_name(&plan, OF_URL)? })
}

fn project(url: &Url, login: &LoginFlags) -> String {
    let mut lines = vec![format!("[connector.{OF_URL}]"), format!("host = {}", quoted(&url.host))];
    let mut line = |key: &str, value: String| lines.push(format!("{key} = {value}"));
    line("transport", quoted(url.transport.name()));
    if let Some(port) = url.port {
        line("port", port.to_string());
    }
    if let (Transport::Ws | Transport::Wss, Some(path)) = (url.transport, &url.topic) {
        line("path", quoted(&format!("/{path}")));
    }
    // A URL is examined for all that a broker can do.
    line("session", quoted("durable"));
    if let Some(username) = login.username.as_ref().or(url.username.as_ref()) {
        line("username", quoted(username));
    }
    if let Some(password) = login.password.as_ref().or(url.password.as_ref()) {
        line("password", quoted(password));
    }
    for (key, file) in [("tls.ca", &login.cafile), ("tls.certificate", &login.cert), ("tls.key", &login.key)]
    {
        if let Some(file) = file {
            line(key, quoted(&absolute(file)));
        }
    }
    lines.join("\n")
}

fn absolute(file: &PathBuf) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.clone()).display().to_string()
}

/// Returns a text as TOML writes it, which is as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl LoginFlags {
    /// Checks that the files are there, in the words of what was typed.
    fn check_files(&self) -> Result<(), Failure> {
        for (flag, file) in [("--cafile", &self.cafile), ("--cert", &self.cert), ("--key", &self.key)] {
            if let Some(file) = file
                && let Err(error) = std::fs::File::open(file)
            {
                let cause = format!("{flag} {} cannot be read: {error}", file.display());
                return Err(Failure::usage(cause, "name a file that is there and may be read"));
            }
        }
        Ok(())
    }

    const fn is_any(&self) -> bool {
        self.username.is_some() || self.password.is_some() || self.cafile.is_some() || self.cert.is_some()
    }
}
