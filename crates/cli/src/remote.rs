//! The flags that `pub` and `sub` share: which broker, who we are, and how to talk.
//!
//! [`RemoteFlags`] is what was typed, [`Remote`] what is meant; between them every fault is found that can be found
//! without a broker.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use crosspoint_client::{
    ClientOptions, DialOptions, OptionsError, Password, Pem, PrivateKey, Protocol, QoS, SessionKeeping,
    TlsClientOptions, TlsVersion, TopicName, Transport, Verify, Will,
};
use crosspoint_hub::secret::KeySource;

use crate::{
    check::PROJECT_FILE,
    connector,
    failure::{Failure, Verbosity, Voice},
    place::Place,
    property::{ConnectValues, PropertyFlags, SubscribeValues},
    secret::{KeyFlags, entering},
    through::{Standing, Through},
    url::Url,
};

/// What was typed about the broker and about ourselves.
#[derive(Debug, Args)]
pub(crate) struct RemoteFlags {
    /// The broker's host name or address (default: localhost)
    #[arg(short = 'h', long, value_name = "HOST", help_heading = "Broker")]
    pub(crate) host: Option<String>,
    /// The broker's port (default: 1883, with TLS 8883, with WebSocket 80, with both 443)
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Broker")]
    pub(crate) port: Option<u16>,
    /// All at once: `mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`, also ws and wss
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port", "unix"], help_heading = "Broker")]
    pub(crate) url: Option<String>,
    /// Connect through this Unix socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "ws"], help_heading = "Broker")]
    pub(crate) unix: Option<PathBuf>,
    /// Talk over WebSocket, on this path (default path: /mqtt)
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/mqtt", help_heading = "Broker")]
    pub(crate) ws: Option<String>,
    /// The user name
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true, help_heading = "Broker")]
    pub(crate) username: Option<String>,
    /// The password, which everyone on this machine can then read in the list of processes: rather --password-from
    #[arg(
        short = 'P',
        long = "pw",
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        help_heading = "Broker"
    )]
    pub(crate) password: Option<String>,
    /// Take the password from a variable or a file, env:NAME or file:PATH, where the list of processes does not show it
    #[arg(long, value_name = "SOURCE", conflicts_with = "password", help_heading = "Broker")]
    pub(crate) password_from: Option<String>,
    /// The version of MQTT: mqttv5, mqttv311 or mqttv31, also 5, 311, 31 (default: the highest that the broker speaks)
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = protocol, help_heading = "Broker")]
    pub(crate) protocol_version: Option<Protocol>,

    /// Use this connector of the project file: through the hub that runs there, else its broker and its login under a client
    /// id of our own; -i, -I, --will-* and -D connect mean the latter
    #[arg(
        long, value_name = "NAME", help_heading = "Project", group = "of_project",
        conflicts_with_all = [
            "host", "port", "url", "unix", "ws", "username", "password", "password_from", "protocol_version", "disable_clean_session",
            "session_expiry_interval", "cafile", "cert", "tls_use_os_certs", "tls_alpn", "tls_version", "insecure",
        ]
    )]
    pub(crate) connector: Option<String>,
    /// The folder of the hub that may run there (default: crosspoint-data beside the project file)
    #[arg(long, value_name = "DIR", requires = "of_project", help_heading = "Project")]
    pub(crate) data: Option<PathBuf>,
    /// The project file
    #[arg(long, value_name = "FILE", default_value = PROJECT_FILE, requires = "of_project", help_heading = "Project")]
    pub(crate) project: PathBuf,
    #[command(flatten)]
    pub(crate) sealing_key: KeyFlags,
    /// The environment of the project file
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV", help_heading = "Project")]
    pub(crate) env: Option<String>,

    /// The client id (default: a random one)
    #[arg(short, long, value_name = "ID", help_heading = "Session")]
    pub(crate) id: Option<String>,
    /// Make the client id of this prefix and the process id
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id", help_heading = "Session")]
    pub(crate) id_prefix: Option<String>,
    /// Seconds of silence after which the connection is probed; 0 is never
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60, help_heading = "Session")]
    pub(crate) keepalive: u16,
    /// Let the broker keep the session (subscriptions and messages) while we are away; needs a client id
    #[arg(short = 'c', long, help_heading = "Session")]
    pub(crate) disable_clean_session: bool,
    /// For how many seconds it is kept (MQTT 5); -1 or ∞ is for ever, which is the default with -c
    #[arg(
        short = 'x', long, value_name = "SECONDS", value_parser = session_expiry, allow_negative_numbers = true,
        help_heading = "Session"
    )]
    pub(crate) session_expiry_interval: Option<u32>,
    #[command(flatten)]
    pub(crate) properties: PropertyFlags,

    /// Trust the certificates in this file (PEM) instead of those of the system; turns TLS on
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(crate) cafile: Option<PathBuf>,
    /// Present the certificate in this file (PEM); turns TLS on
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
    pub(crate) key: Option<PathBuf>,
    /// Take the password of the private key from a variable or a file: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE", requires = "key", help_heading = "TLS")]
    pub(crate) key_password_from: Option<String>,
    /// Speak no lower version of TLS: tlsv1.2 or tlsv1.3
    #[arg(long, value_name = "VERSION", value_parser = tls_version, help_heading = "TLS")]
    pub(crate) tls_version: Option<TlsVersion>,
    /// Does nothing, for those who are used to it: what is written is sent at once
    #[arg(long, hide = true)]
    pub(crate) nodelay: bool,
    /// Trust the certificates of the system; turns TLS on
    #[arg(long, conflicts_with = "cafile", help_heading = "TLS")]
    pub(crate) tls_use_os_certs: bool,
    /// Offer this application protocol (ALPN)
    #[arg(long, value_name = "PROTOCOL", help_heading = "TLS")]
    pub(crate) tls_alpn: Option<String>,
    /// Accept a certificate that bears another host name: whoever has one of that authority can pose as the broker
    #[arg(long, help_heading = "TLS")]
    pub(crate) insecure: bool,

    /// Where the broker publishes our will when we die
    #[arg(long, value_name = "TOPIC", help_heading = "Will")]
    pub(crate) will_topic: Option<String>,
    /// What it publishes (default: an empty message)
    #[arg(
        long,
        value_name = "TEXT",
        requires = "will_topic",
        allow_hyphen_values = true,
        help_heading = "Will"
    )]
    pub(crate) will_payload: Option<OsString>,
    /// At which QoS
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = qos, help_heading = "Will")]
    pub(crate) will_qos: Option<QoS>,
    /// Retain it
    #[arg(long, requires = "will_topic", help_heading = "Will")]
    pub(crate) will_retain: bool,

    /// Give up after so many seconds, with exit code 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: Option<u32>,
    /// Say on stderr what happens with the connection
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) debug: bool,
    /// Say nothing about what fails at run time
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What is meant: the broker and ourselves, checked.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) options: ClientOptions,
    pub(crate) protocol: Protocol,
    /// The topic of the URL.
    pub(crate) topic: Option<String>,
    pub(crate) timeout: Option<Duration>,
    /// What is to be said before anything is done.
    pub(crate) notice: Option<String>,
}

impl Remote {
    /// Says what there is to say before anything is done.
    pub(crate) fn notice(&self, voice: Voice) {
        if let Some(notice) = &self.notice {
            voice.warn(notice);
        }
    }
}

impl RemoteFlags {
    /// Returns how much the command says.
    pub(crate) fn voice(&self) -> Voice {
        Voice::new(match (self.quiet, self.debug) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Debug,
            (false, false) => Verbosity::Normal,
        })
    }

    /// Checks what was typed.
    ///
    /// # Errors
    /// The first fault, and its mend.
    pub(crate) fn remote(&self) -> Result<Remote, Failure> {
        let url = self.url.as_deref().map(Url::parse).transpose().map_err(|what| {
            Failure::usage(format!("-L: {what}"), "write -L mqtt://HOST:PORT/TOPIC, or use -h, -p and -t")
        })?;
        let mut notice = None;
        let (mut options, protocol) = match &self.connector {
            Some(name) => self.of_connector(name, &mut notice)?,
            None => (self.typed_options(url.as_ref())?, self.protocol()?),
        };
        options = self.with_will(options.client_id(self.client_id()))?;
        options.check().map_err(|error| wrong_options(&error))?;
        let topic = url.and_then(|url| url.topic);
        Ok(Remote { options, protocol, topic, timeout: self.timeout(), notice })
    }

    /// Returns how long the command may take.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Returns the hub through which the connector is reached: one that runs and is connected there, or whose embedded
    /// broker it is. Otherwise a client of our own goes there, and says why where a hub runs.
    ///
    /// # Errors
    /// The project file is wrong, or has no such connector; or a flag does not go with the way there.
    pub(crate) fn through(&self, voice: Voice) -> Result<Option<Through>, Failure> {
        let Some(name) = &self.connector else { return Ok(None) };
        let is_embedded =
            connector::is_embedded(name, &self.project, self.env.as_deref(), &self.key_source())?;
        let place = self.place();
        let through = Through { place, connector: name.clone() };
        match (is_embedded, self.is_of_our_own()) {
            (true, true) => Err(about_a_connection()),
            (true, false) => Ok(Some(through)),
            (false, true) => Ok(None),
            (false, false) => match through.standing()? {
                Standing::NoHub => Ok(None),
                Standing::NotConnected(why) => {
                    voice.warn(format_args!(
                        "this does not go through the hub that runs, but to the broker of {name} itself: {why}"
                    ));
                    Ok(None)
                }
                Standing::Connected { version } if self.properties.is_any && version != "5.0" => {
                    Err(properties_of_connector())
                }
                Standing::Connected { .. } => Ok(Some(through)),
            },
        }
    }

    /// Returns the hub that may run beside the project.
    pub(crate) fn place(&self) -> Place {
        Place::of(self.data.as_deref(), &self.project)
    }

    fn key_source(&self) -> KeySource {
        self.sealing_key.source(self.place().data())
    }

    /// Tells whether something is said about the connection, or the identifiers on it, so that it must be one of our own.
    fn is_of_our_own(&self) -> bool {
        self.id.is_some()
            || self.id_prefix.is_some()
            || self.will_topic.is_some()
            || self.properties.is_will
            || self.properties.connect != ConnectValues::default()
            || self.properties.subscribe.subscription_id.is_some()
    }

    /// Checks that no property is about subscriptions, where none are made.
    ///
    /// # Errors
    /// One is.
    pub(crate) fn no_subscribe_properties(&self) -> Result<(), Failure> {
        let PropertyFlags { subscribe, unsubscribe, .. } = &self.properties;
        if *subscribe != SubscribeValues::default() || !unsubscribe.is_empty() {
            let cause = "-D subscribe and -D unsubscribe set properties of what only sub sends";
            return Err(Failure::usage(cause, "leave them away"));
        }
        Ok(())
    }

    /// Checks that no property is about a connection, where none is made.
    ///
    /// # Errors
    /// One is.
    pub(crate) fn only_publish_properties(&self) -> Result<(), Failure> {
        if self.properties.is_will || self.properties.connect != ConnectValues::default() {
            let cause = "-D connect and -D will are about a connection, and none is made here";
            return Err(Failure::usage(cause, "leave them away"));
        }
        Ok(())
    }

    fn of_connector(
        &self,
        name: &str,
        notice: &mut Option<String>,
    ) -> Result<(ClientOptions, Protocol), Failure> {
        let visited = connector::options(name, &self.project, self.env.as_deref(), &self.key_source())?;
        if self.properties.is_will || self.properties.connect != ConnectValues::default() {
            return Err(properties_of_connector());
        }
        match &visited.client_id {
            Some(its_own) if Some(its_own) == self.id.as_ref() => {
                let cause =
                    format!("-i is the client id of connector {name}: its connection would end for this one");
                return Err(Failure::usage(cause, "leave -i away, or give another"));
            }
            Some(_) if self.id.is_none() => {
                *notice = Some(format!(
                    "connector {name} has a client id of its own and this is another one: a broker that allows by client id \
                     may allow less here"
                ));
            }
            _ => {}
        }
        match visited.protocol {
            Protocol::V3_1 | Protocol::V3_1_1 if self.properties.is_any => Err(properties_of_connector()),
            Protocol::Auto if self.properties.is_any => {
                Ok((visited.options.protocol(Protocol::V5), Protocol::V5))
            }
            protocol => Ok((visited.options, protocol)),
        }
    }

    fn typed_options(&self, url: Option<&Url>) -> Result<ClientOptions, Failure> {
        let options = ClientOptions::default()
            .server(self.server(url)?)
            .protocol(self.protocol()?)
            .keep_alive_s(self.keepalive);
        Ok(self.with_connect_values(self.with_session(self.with_login(options, url)?)?))
    }

    fn protocol(&self) -> Result<Protocol, Failure> {
        match self.protocol_version {
            Some(Protocol::V3_1 | Protocol::V3_1_1) if self.properties.is_any => Err(Failure::usage(
                "-D sets properties, which MQTT 3.1 and 3.1.1 do not have",
                "use -V 5, or no -D",
            )),
            Some(protocol) => Ok(protocol),
            None if self.properties.is_any => Ok(Protocol::V5),
            None => Ok(Protocol::Auto),
        }
    }

    fn server(&self, url: Option<&Url>) -> Result<DialOptions, Failure> {
        if let Some(path) = &self.unix {
            return Ok(DialOptions::unix(path));
        }
        let transport = self.transport(url);
        let host = url.map(|url| url.host.as_str()).or(self.host.as_deref()).unwrap_or("localhost");
        let port = url.and_then(|url| url.port).or(self.port).unwrap_or(default_port(transport));
        let server = DialOptions::new(transport, host, port).tls(self.tls()?);
        Ok(match &self.ws {
            Some(path) => server.path(if path.starts_with('/') { path.clone() } else { format!("/{path}") }),
            None => server,
        })
    }

    fn transport(&self, url: Option<&Url>) -> Transport {
        let from_url = url.map_or(Transport::Tcp, |url| url.transport);
        let is_tls = matches!(from_url, Transport::Tls | Transport::Wss)
            || self.cafile.is_some()
            || self.cert.is_some()
            || self.tls_use_os_certs
            // As mosquitto_pub: this port says what is meant.
            || (url.is_none() && self.ws.is_none() && self.port == Some(8883));
        let is_websocket = matches!(from_url, Transport::Ws | Transport::Wss) || self.ws.is_some();
        match (is_websocket, is_tls) {
            (false, false) => Transport::Tcp,
            (false, true) => Transport::Tls,
            (true, false) => Transport::Ws,
            (true, true) => Transport::Wss,
        }
    }

    fn tls(&self) -> Result<TlsClientOptions, Failure> {
        let mut tls = TlsClientOptions::default();
        if let Some(file) = &self.cafile {
            tls = tls.authority(Pem::file(file));
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Pem::file(certificate), self.private_key(key)?);
        }
        if let Some(version) = self.tls_version {
            tls = tls.version_min(version);
        }
        if let Some(protocol) = &self.tls_alpn {
            tls = tls.alpn(protocol);
        }
        Ok(if self.insecure { tls.verify(Verify::Chain) } else { tls })
    }

    /// Returns the key in a file, opened where it has a password.
    fn private_key(&self, path: &Path) -> Result<Pem, Failure> {
        let Some(source) = &self.key_password_from else { return Ok(Pem::file(path)) };
        let password = entering::from_source(source)?;
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::usage(
                format!("--key {}: {error}", path.display()),
                "name a file that this user may read",
            )
        })?;
        let key = PrivateKey::read(&bytes, Some(password.expose()))
            .map_err(|error| Failure::usage(format!("--key {}: {error}", path.display()), error.hint()))?;
        Ok(Pem::inline(key.to_pem().as_str()))
    }

    fn client_id(&self) -> String {
        match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            (None, None) => String::new(),
        }
    }

    fn with_login(&self, mut options: ClientOptions, url: Option<&Url>) -> Result<ClientOptions, Failure> {
        let username = self.username.clone().or_else(|| url?.username.clone());
        let password = self.password.clone().or_else(|| url?.password.clone());
        if let Some(username) = username {
            options = options.username(username);
        }
        if let Some(source) = &self.password_from {
            options = options.password(Password::new(entering::from_source(source)?.expose().to_vec()));
        } else if let Some(password) = password {
            options = options.password(Password::from(password));
        }
        Ok(options)
    }

    fn with_session(&self, options: ClientOptions) -> Result<ClientOptions, Failure> {
        let expiry_s = self.session_expiry_interval.or(self.properties.connect.session_expiry_s);
        if self.disable_clean_session {
            if self.id.is_none() && self.id_prefix.is_none() {
                let cause = "-c keeps the session under a client id, and none is given";
                return Err(Failure::usage(cause, "add -i ID"));
            }
            let expiry_s = expiry_s.unwrap_or(u32::MAX);
            return Ok(options.session(SessionKeeping::Durable).session_expiry_s(expiry_s));
        }
        match expiry_s {
            None | Some(0) => Ok(options),
            Some(_) => {
                let cause = "-x says how long the session is kept, but without -c it is not kept";
                Err(Failure::usage(cause, "add -c and -i ID, or leave -x away"))
            }
        }
    }

    fn with_will(&self, options: ClientOptions) -> Result<ClientOptions, Failure> {
        let Some(topic) = &self.will_topic else {
            return match self.properties.is_will {
                true => Err(Failure::usage(
                    "-D will sets a property of the will, and there is none",
                    "add --will-topic TOPIC",
                )),
                false => Ok(options),
            };
        };
        let topic = TopicName::parse(topic.as_str()).map_err(|error| {
            Failure::usage(
                format!("--will-topic {topic:?} cannot be published to: {error}"),
                "give one topic, without + and #",
            )
        })?;
        let payload = self.will_payload.clone().unwrap_or_default().into_encoded_bytes();
        Ok(options.will(Will {
            topic,
            payload: payload.into(),
            qos: self.will_qos.unwrap_or_default(),
            retain: self.will_retain,
            properties: self.properties.will.clone(),
        }))
    }

    fn with_connect_values(&self, mut options: ClientOptions) -> ClientOptions {
        let values = &self.properties.connect;
        if let Some(count) = values.receive_maximum {
            options = options.receive_maximum(count);
        }
        if let Some(bytes) = values.packet_bytes_max {
            options = options.packet_bytes_max(bytes);
        }
        if let Some(highest) = values.topic_alias_max {
            options = options.topic_alias_max(highest);
        }
        values
            .user_properties
            .iter()
            .fold(options, |options, (name, value)| options.user_property(name, value))
    }
}

fn about_a_connection() -> Failure {
    Failure::usage(
        "-i, -I, --will-*, -D connect and subscription identifiers are about a connection, and the embedded broker is reached without one",
        "leave them away, or give the address of a listener with -h and -p",
    )
}

fn properties_of_connector() -> Failure {
    Failure::usage(
        "-D connect and -D will do not go with --connector, and -D publish not with one of MQTT 3.1 or 3.1.1",
        "leave -D away, or name the broker with -h or -L",
    )
}

/// Reads a QoS.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    match text {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        _ => Err("a QoS is 0 (at most once), 1 (at least once) or 2 (exactly once)".to_owned()),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "mqttv5" | "5" => Ok(Protocol::V5),
        "mqttv311" | "311" => Ok(Protocol::V3_1_1),
        "mqttv31" | "31" => Ok(Protocol::V3_1),
        _ => Err("a version is mqttv5, mqttv311 or mqttv31, also 5, 311 or 31".to_owned()),
    }
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "tlsv1.2" => Ok(TlsVersion::V1_2),
        "tlsv1.3" => Ok(TlsVersion::V1_3),
        _ => Err("a version is tlsv1.2 or tlsv1.3; lower ones are not spoken".to_owned()),
    }
}

fn session_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        _ => text
            .parse()
            .map_err(|_| "it must be a number from 0 to 4294967295, or -1 or ∞ for ever".to_owned()),
    }
}

const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tls => 8883,
        Transport::Ws => 80,
        Transport::Wss => 443,
        _ => 1883,
    }
}

fn wrong_options(error: &OptionsError) -> Failure {
    let next_step = match error {
        OptionsError::PasswordWithoutUsername => "add -u NAME, or -V 5",
        OptionsError::ClientId { .. } => "give a shorter -i, or another -V",
        _ => "see --help",
    };
    Failure::usage(error, next_step)
}

#[cfg(test)]
mod tests;
