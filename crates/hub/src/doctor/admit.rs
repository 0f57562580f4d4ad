//! CONNECT: the version, the login, the keep alive, and what the broker allows.

use crosspoint_client::{Password, Version, begin_scram};
use crosspoint_protocol::packet::{ConnAck, Connect, ConnectProperties, Login};
use crosspoint_protocol::scram::{ClientExchange, METHOD};
use crosspoint_protocol::{QoS, ReasonCode};

use super::Visit;
use super::line::{Line, NotOpened};
use super::report::{Chart, Stage};
use crate::config::Secret;
use crate::config::plan::{Address, Auth, MqttPlan, Protocol};
use crate::connect;
use crate::diagnosis::{
    Diagnosis, Fault, of_closed, of_dial, of_keep_alive, of_not_mqtt, of_refusal, of_scram, of_silence,
    of_spoken_by, of_tls_end,
};

/// How the client identifiers of the doctor begin: letters and digits, which every broker takes.
const CLIENT_ID_PREFIX: &str = "crosspointdoctor";

/// The length that every broker of 3.1 takes.
const CLIENT_ID_CHARACTERS: usize = 23;

/// Which keep alives are tried, longest first, when a broker of 3.1 or 3.1.1 refuses ours without a word about it.
const KEEP_ALIVES_S: &[u16] = &[600, 300, 120, 60, 30, 20, 10, 5];

/// An open connection, and what the broker said to it.
pub(super) struct Admitted {
    pub(super) line: Line,
    pub(super) connack: ConnAck,
    /// What was asked for.
    pub(super) asked: Connect,
}

/// Makes a client identifier that nobody else has.
pub(super) fn own_client_id() -> String {
    let rest = CLIENT_ID_CHARACTERS - CLIENT_ID_PREFIX.len();
    let made_up: String = (0..rest).map(|_| fastrand::alphanumeric()).collect();
    format!("{CLIENT_ID_PREFIX}{made_up}")
}

/// Returns a CONNECT of nobody: without user name, password and will.
pub(super) fn bare_connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        is_bridge: false,
        keep_alive_s: 30,
        client_id: own_client_id().into(),
        will: None,
        login: Login::default(),
        properties: ConnectProperties::default(),
    }
}

/// Returns the CONNECT of a connector under a client identifier of the doctor's: clean, and without its will.
pub(super) fn connect_as(mqtt: &MqttPlan, client_id: &str, version: Version) -> Connect {
    Connect {
        keep_alive_s: u16::try_from(mqtt.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: client_id.into(),
        login: Login {
            username: mqtt.username.as_deref().map(Into::into),
            // With SCRAM it is proven, and never sent.
            password: sent_password(mqtt).map(|password| password.expose().to_vec().into()),
        },
        properties: ConnectProperties {
            receive_maximum: Some(mqtt.receive_maximum),
            maximum_packet_bytes: Some(mqtt.packet_bytes_max),
            authentication_method: (mqtt.auth == Auth::ScramSha256).then(|| METHOD.into()),
            ..ConnectProperties::default()
        },
        ..bare_connect(version)
    }
}

fn sent_password(mqtt: &MqttPlan) -> Option<&Secret> {
    mqtt.password.as_ref().filter(|_| mqtt.auth == Auth::Password)
}

const fn versions(protocol: Protocol) -> &'static [Version] {
    match protocol {
        Protocol::Auto => &[Version::V5, Version::V3_1_1, Version::V3_1],
        Protocol::Only(Version::V5) => &[Version::V5],
        Protocol::Only(Version::V3_1_1) => &[Version::V3_1_1],
        Protocol::Only(Version::V3_1) => &[Version::V3_1],
    }
}

impl Visit<'_> {
    /// Says CONNECT, stepping down through the versions that the connector offers.
    pub(super) async fn admit(&self, chart: &mut Chart<'_>) -> Option<Admitted> {
        let mut last = None;
        for version in versions(self.patient.mqtt.protocol) {
            match self.connect(*version).await {
                Ok(admitted) => return self.welcome(chart, admitted).await,
                Err(error) => {
                    let is_hopeless = !may_be_the_version(&error);
                    last = Some(error);
                    if is_hopeless {
                        break;
                    }
                }
            }
        }
        let diagnosis = self.why_not_admitted(last?).await;
        if matches!(diagnosis.fault, Fault::NotAuthorized | Fault::ClientIdRefused | Fault::BadLogin) {
            chart.note(self.about_client_id());
        }
        chart.found(Stage::Connect, Err(diagnosis));
        None
    }

    /// Opens a connection in a version, as the connector would.
    pub(super) async fn connect(&self, version: Version) -> Result<Admitted, NotOpened> {
        self.connect_with(connect_as(&self.patient.mqtt, &self.client_id, version)).await
    }

    /// Opens a connection with this CONNECT.
    pub(super) async fn connect_with(&self, connect: Connect) -> Result<Admitted, NotOpened> {
        self.connect_at(self.address, connect).await
    }

    /// Opens a connection to an address with this CONNECT.
    pub(super) async fn connect_at(
        &self,
        address: &Address,
        mut connect: Connect,
    ) -> Result<Admitted, NotOpened> {
        let scram = self.scram(&mut connect)?;
        let dial = connect::dial_options(&self.patient.mqtt, address);
        let subprotocol = match connect.version {
            Version::V3_1 => crosspoint_net::Subprotocol::MqttV31,
            _ => crosspoint_net::Subprotocol::Mqtt,
        };
        let dial = dial.ws_subprotocol(subprotocol);
        let (line, connack) = Line::open(&dial, connect.clone(), scram, self.patience).await?;
        Ok(Admitted { line, connack, asked: connect })
    }

    /// Begins an exchange of SCRAM in a CONNECT that names the method.
    fn scram(&self, connect: &mut Connect) -> Result<Option<ClientExchange>, NotOpened> {
        let mqtt = &self.patient.mqtt;
        let (Some(username), Some(password)) = (&mqtt.username, &mqtt.password) else { return Ok(None) };
        if connect.properties.authentication_method.is_none() || !connect.version.is_v5() {
            return Ok(None);
        }
        let begun = begin_scram(username, &Password::new(password.expose().to_vec()));
        let exchange = begun.map_err(|cause| NotOpened::Unsendable(cause.to_string()))?;
        connect.properties.authentication_data = Some(exchange.first().into());
        Ok(Some(exchange))
    }

    async fn welcome(&self, chart: &mut Chart<'_>, mut admitted: Admitted) -> Option<Admitted> {
        let version = admitted.asked.version;
        match admitted.line.ping().await {
            Ok(took) => {
                let seen = format!("MQTT {version}, a ping takes {:.1} ms", took.as_secs_f64() * 1_000.0);
                chart.found(Stage::Connect, Ok(seen));
                Some(admitted)
            }
            Err(lost) => {
                chart.found(Stage::Connect, Err(lost.into_diagnosis(&self.patient.mqtt)));
                None
            }
        }
    }

    async fn why_not_admitted(&self, error: NotOpened) -> Diagnosis {
        let mqtt = &self.patient.mqtt;
        match error {
            NotOpened::Dial(error) => of_dial(&error),
            NotOpened::Tls(cause) => of_tls_end(&cause),
            NotOpened::Refused(connack) => self.why_refused(&connack).await,
            NotOpened::Scram(fault) => of_scram(fault),
            NotOpened::Other(Some(spoken), _) => of_spoken_by(self.address, spoken, mqtt),
            NotOpened::Other(None, violation) => of_not_mqtt(&violation),
            NotOpened::Closed => self.why_closed().await,
            NotOpened::Silent => self.second_look(of_silence(self.patience)).await,
            NotOpened::Unsendable(what) => Diagnosis::new(
                Fault::OurSide,
                format!("CONNECT cannot be made: {what}"),
                "correct user name, password and protocol",
            ),
        }
    }

    async fn why_refused(&self, connack: &ConnAck) -> Diagnosis {
        let mqtt = &self.patient.mqtt;
        match (connack.reason, mqtt.protocol) {
            (ReasonCode::ClientIdentifierNotValid, protocol) => {
                let found = match protocol {
                    Protocol::Only(Version::V5) => None,
                    Protocol::Only(version) => self.keep_alive_that_is_taken(version).await,
                    Protocol::Auto => self.keep_alive_that_is_taken(Version::V3_1_1).await,
                };
                found.unwrap_or_else(|| refusal(mqtt, connack))
            }
            (ReasonCode::UnsupportedProtocolVersion, Protocol::Only(only)) => {
                self.version_that_is_spoken(only).await.unwrap_or_else(|| refusal(mqtt, connack))
            }
            _ => refusal(mqtt, connack),
        }
    }

    /// A broker of 3.1 and 3.1.1 has no word for a keep alive that it does not take: it is found by trying.
    async fn keep_alive_that_is_taken(&self, version: Version) -> Option<Diagnosis> {
        let mqtt = &self.patient.mqtt;
        let asked = connect_as(mqtt, &self.client_id, version);
        let asked_s = asked.keep_alive_s;
        for keep_alive_s in KEEP_ALIVES_S.iter().filter(|taken| asked_s == 0 || **taken < asked_s) {
            let with_it = Connect { keep_alive_s: *keep_alive_s, ..asked.clone() };
            if let Ok(admitted) = self.connect_with(with_it).await {
                admitted.line.close().await;
                return Some(of_keep_alive(asked_s, *keep_alive_s, version));
            }
        }
        None
    }

    async fn version_that_is_spoken(&self, not: Version) -> Option<Diagnosis> {
        // SCRAM is in MQTT 5 alone: another version would be no mend.
        if self.patient.mqtt.auth == Auth::ScramSha256 {
            return None;
        }
        for version in versions(Protocol::Auto).iter().filter(|version| **version != not) {
            if let Ok(admitted) = self.connect(*version).await {
                admitted.line.close().await;
                let cause = format!("the broker does not speak MQTT {not}, and speaks MQTT {version}");
                let next_step = "let the connector find the version that the broker speaks";
                return Some(
                    Diagnosis::new(Fault::VersionRefused, cause, next_step).text("protocol", "auto"),
                );
            }
        }
        None
    }

    async fn why_closed(&self) -> Diagnosis {
        if let Protocol::Only(only) = self.patient.mqtt.protocol
            && let Some(diagnosis) = self.version_that_is_spoken(only).await
        {
            return diagnosis;
        }
        self.second_look(of_closed()).await
    }

    /// Says what the broker allows, and where that is less than the connector asks for.
    pub(super) fn limits(&self, chart: &mut Chart<'_>, admitted: &Admitted) {
        let said = &admitted.connack.properties;
        let version = admitted.asked.version;
        if !version.is_v5() {
            let seen = format!("MQTT {version} cannot say them");
            return chart.warned(Stage::Limits, seen, Vec::new());
        }
        let mut wrong = Vec::new();
        let asked_s = admitted.asked.keep_alive_s;
        if let Some(taken_s) = said.server_keep_alive_s.filter(|taken_s| *taken_s != asked_s && *taken_s > 0)
        {
            wrong.push(of_keep_alive(asked_s, taken_s, version));
        }
        if said.retain_available == Some(false) {
            wrong.push(Diagnosis::new(
                Fault::RetainedLost,
                "the broker keeps no retained messages: it says so",
                "turn them on at the broker, or let nothing be retained",
            ));
        }
        if let Some(qos) = said.maximum_qos {
            let most = u8::from(qos == QoS::AtLeastOnce);
            let cause = format!("the broker takes QoS {most} at most");
            let next_step =
                format!("write qos = {most} in `to` of each flow to this connector that sends at more");
            wrong.push(Diagnosis::new(Fault::QosLowered, cause, next_step));
        }
        chart.warned(Stage::Limits, seen(&admitted.connack), wrong);
    }

    pub(super) fn about_client_id(&self) -> String {
        format!(
            "the doctor connects as {:?}, not as the connector does: a broker whose rules look at the client id may treat the connector otherwise",
            self.client_id
        )
    }
}

fn may_be_the_version(error: &NotOpened) -> bool {
    match error {
        NotOpened::Closed => true,
        NotOpened::Refused(connack) => connack.reason == ReasonCode::UnsupportedProtocolVersion,
        _ => false,
    }
}

fn refusal(mqtt: &MqttPlan, connack: &ConnAck) -> Diagnosis {
    let said = &connack.properties;
    of_refusal(mqtt, connack.reason, said.reason_string.as_deref(), said.server_reference.as_deref())
}

fn seen(connack: &ConnAck) -> String {
    let said = &connack.properties;
    let packet =
        said.maximum_packet_bytes.map_or_else(|| "any size".to_owned(), |bytes| format!("{bytes} bytes"));
    let in_flight = said.receive_maximum.unwrap_or(u16::MAX);
    let aliases = said.topic_alias_maximum.unwrap_or(0);
    format!("packets of {packet}, {in_flight} in flight, {aliases} topic aliases")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::plan::ConnectorPlan;

    #[test]
    fn a_password_that_is_only_proven_is_never_sent() {
        let login = "[connector.a]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"p\"\n";
        for (auth, password) in [("password", Some(&b"p"[..])), ("scram-sha-256", None)] {
            let (plan, _) = parse(&format!("{login}auth = \"{auth}\"\n"), "crosspoint.toml", None).unwrap();
            let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!("{plan:?}") };
            for version in [Version::V5, Version::V3_1_1, Version::V3_1] {
                let connect = connect_as(mqtt, "me", version);
                assert_eq!(connect.login.password.as_deref(), password, "{auth} {version}");
                assert_eq!(connect.properties.authentication_method.is_some(), password.is_none());
            }
            let only_5 = versions(mqtt.protocol) == [Version::V5];
            assert_eq!(only_5, password.is_none(), "no other version is tried");
        }
    }
}
