//! Listeners, with who may come in at each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::settings::{BROKER, broker as keys};

use super::super::draft::Section;
use super::super::{Import, ImportError};
use super::accounts;
use super::leftovers;
use super::lines::{Block, Conf, Line};

/// Keys that let fewer in, or let them see less, and that nothing here can say: a listener with one of them is left out.
const STRICTER: &[(&str, &str)] = &[
    ("mount_point", "its clients would see the topics of the others"),
    ("psk_file", "it asks for pre-shared keys, and there is no TLS with them"),
    ("psk_hint", "it asks for pre-shared keys, and there is no TLS with them"),
    ("crlfile", "revoked certificates would be let in"),
    (
        "use_identity_as_username",
        "its clients are known by their certificates, and here by name and password",
    ),
    ("use_subject_as_username", "its clients are known by their certificates, and here by name and password"),
    ("plugin", "a plugin of Mosquitto decides who comes in, and it does not run here"),
    ("auth_plugin", "a plugin of Mosquitto decides who comes in, and it does not run here"),
    ("enable_proxy_protocol", "it would take the proxy for the client"),
];

/// What came of all listeners.
pub(super) struct Opened {
    pub(super) has_listener: bool,
    pub(super) anonymous_roles: Option<Vec<String>>,
}

/// Who may come in at a listener.
#[derive(Clone, PartialEq, Eq)]
struct Door {
    allows_anonymous: bool,
    passwords: Option<String>,
    acl: Option<String>,
}

/// Reads users and listeners and adds them to the draft.
pub(super) fn read(import: &mut Import<'_>, conf: &mut Conf) -> Result<Opened, ImportError> {
    let is_local = conf.listeners.is_empty();
    let common = door(&mut conf.general, is_local);
    let for_all: Vec<_> = STRICTER.iter().filter(|(key, _)| conf.general.find(&[key]).is_some()).collect();
    let mut listeners = std::mem::take(&mut conf.listeners);
    if is_local {
        listeners.push(local());
    }
    let doors: Vec<Door> = listeners
        .iter_mut()
        .map(|block| {
            let mut door = if conf.is_per_listener { door(block, false) } else { common.clone() };
            if let Some(allows) = block.take_flag("listener_allow_anonymous") {
                door.allows_anonymous = allows;
            }
            door
        })
        .collect();
    // Users hold for the whole broker, so those of one listener only can be carried over.
    let kept = doors.iter().find(|door| door.passwords.is_some()).or(doors.first()).cloned();
    let Some(kept) = kept else { return Ok(Opened { has_listener: false, anonymous_roles: None }) };
    let anonymous_acl = doors.iter().find(|door| door.allows_anonymous).map(|door| door.acl.clone());
    let files = accounts::Files {
        passwords: kept.passwords.as_deref(),
        acl: kept.acl.as_deref(),
        anonymous_acl: anonymous_acl.as_ref().and_then(Option::as_deref),
    };
    let accounts = accounts::read(import, &files)?;
    let mut has_listener = false;
    for (mut block, door) in listeners.into_iter().zip(doors) {
        let listener = Listener { is_local, door: &door, has_users: accounts.has_users };
        let clashes = (door.passwords.is_some()
            && (&door.passwords, &door.acl) != (&kept.passwords, &kept.acl))
            || (door.allows_anonymous && anonymous_acl.as_ref() != Some(&door.acl));
        let refused = for_all
            .first()
            .map(|(key, why)| (*key, *why))
            .or_else(|| STRICTER.iter().find(|(key, _)| block.find(&[key]).is_some()).copied());
        let made = match refused {
            Some((key, why)) => Err(format!("`{key}`: {why}")),
            None if clashes => {
                Err("users and rules hold for the whole broker, and another listener has others".to_owned())
            }
            None => listener.section(import, &mut block),
        };
        match made {
            Ok(section) => {
                import.draft.push(section);
                has_listener = true;
            }
            Err(why) => import.left_out(&block.at, format!("the listener `{}`", block.head), why),
        }
        leftovers(import, block);
    }
    Ok(Opened { has_listener, anonymous_roles: accounts.anonymous_roles })
}

/// Returns the listener that Mosquitto opens when none is written: this machine only.
fn local() -> Block {
    Block::new("without a listener", "1883 127.0.0.1")
}

fn door(block: &mut Block, default: bool) -> Door {
    let allows = block.take_flag("allow_anonymous");
    Door {
        allows_anonymous: allows.unwrap_or(default),
        passwords: block.take(&["password_file"]).map(|line| line.value),
        acl: block.take(&["acl_file"]).map(|line| line.value),
    }
}

/// What a listener is made with.
struct Listener<'a> {
    is_local: bool,
    door: &'a Door,
    has_users: bool,
}

impl Listener<'_> {
    fn section(&self, import: &mut Import<'_>, block: &mut Block) -> Result<Section, String> {
        let allows_anonymous = self.door.allows_anonymous;
        if !allows_anonymous && !self.has_users {
            return Err(
                "nobody could come in: it allows no anonymous clients, and there is no user".to_owned()
            );
        }
        let bind = bind(block)?;
        let tls = Tls::take(import, block)?;
        let transport = match (block.take(&["protocol"]).map(|line| line.value).as_deref(), tls.is_some()) {
            (None | Some("mqtt"), false) => "tcp",
            (None | Some("mqtt"), true) => "tls",
            (Some("websockets"), false) => "ws",
            (Some("websockets"), true) => "wss",
            (Some(other), _) => return Err(format!("`protocol {other}` is none that is spoken here")),
        };
        let name = format!("{transport}-{}", bind.port());
        let mut section = Section::new(&[BROKER.key, keys::LISTENER.key, &name]);
        match self.is_local {
            true => section.comment("As Mosquitto without a listener: this machine only, and no password."),
            false => section.comment(format!("From {}.", block.at)),
        }
        section.set(&keys::LISTENER_BIND, bind.to_string());
        if bind.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            section
                .comment("`[::]` is every address, IPv4 as well; without IPv6 on the machine write 0.0.0.0.");
        }
        if transport != "tcp" {
            section.set(&keys::LISTENER_TRANSPORT, transport);
        }
        section.set(&keys::LISTENER_ANONYMOUS, allows_anonymous);
        if let Some(tls) = tls {
            tls.write(&mut section);
        }
        if transport.starts_with("ws") {
            origins(import, block, &mut section);
        }
        // The sum of all stands under [broker].
        block.take_all("max_connections");
        Ok(section)
    }
}

fn bind(block: &mut Block) -> Result<SocketAddr, String> {
    let head = block.head.clone();
    let mut words = head.split_whitespace();
    let port = words.next().and_then(|port| port.parse::<u16>().ok());
    let host = words.next().filter(|word| !word.starts_with('#')).map(str::to_owned);
    let port = match port {
        Some(0) => return Err("there is no listener on a Unix socket".to_owned()),
        Some(port) => port,
        None => return Err("its port is not a number from 1 to 65,535".to_owned()),
    };
    let written = block.take(&["bind_address"]).map(|line| line.value);
    let domain = block.take(&["socket_domain"]).map(|line| line.value);
    if block.find(&["bind_interface"]).is_some() && host.is_none() && written.is_none() {
        return Err(
            "`bind_interface` limits it to an interface; write the address of that to `bind`".to_owned()
        );
    }
    let ip = match (host.or(written).as_deref(), domain.as_deref()) {
        (None, Some("ipv4")) => Ipv4Addr::UNSPECIFIED.into(),
        (None, _) => Ipv6Addr::UNSPECIFIED.into(),
        (Some("localhost"), _) => Ipv4Addr::LOCALHOST.into(),
        (Some(host), _) => host
            .parse::<IpAddr>()
            .map_err(|_| format!("it listens on the name `{host}`; write its IP address to `bind`"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// Certificate, key and authorities of a listener.
struct Tls {
    certificate: String,
    key: String,
    authorities: Option<String>,
    /// Whether TLS 1.3 is asked for.
    is_newest_only: bool,
}

impl Tls {
    fn take(import: &mut Import<'_>, block: &mut Block) -> Result<Option<Self>, String> {
        let (certificate, key) = (block.take(&["certfile"]), block.take(&["keyfile"]));
        let requires = block.take_flag("require_certificate") == Some(true);
        let version = block.take(&["tls_version"]);
        let authorities = if requires { block.take(&["cafile"]) } else { None };
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return if requires {
                Err("it asks for certificates and has none itself".to_owned())
            } else {
                Ok(None)
            };
        };
        if requires && authorities.is_none() {
            return Err(
                "the authorities of its clients lie in a folder; name them in one `cafile`".to_owned()
            );
        }
        let is_newest_only = version.is_some_and(|line| newest_only(import, &line));
        let file = |line: &Line| import.file(&line.value);
        Ok(Some(Self {
            certificate: file(&certificate),
            key: file(&key),
            authorities: authorities.as_ref().map(file),
            is_newest_only,
        }))
    }

    fn write(self, section: &mut Section) {
        section.set_in(&keys::LISTENER_TLS, &keys::LISTENER_TLS_CERTIFICATE, self.certificate);
        section.set_in(&keys::LISTENER_TLS, &keys::LISTENER_TLS_KEY, self.key);
        if let Some(authorities) = self.authorities {
            section.set_in(&keys::LISTENER_TLS, &keys::LISTENER_TLS_CA, vec![authorities]);
        }
        if self.is_newest_only {
            section.set_in(&keys::LISTENER_TLS, &keys::LISTENER_TLS_MIN_VERSION, "1.3");
        }
    }
}

/// Tells whether a `tls_version` or `bridge_tls_version` asks for TLS 1.3; an older one than 1.2 is not spoken here.
pub(super) fn newest_only(import: &mut Import<'_>, line: &Line) -> bool {
    match line.value.as_str() {
        "tlsv1.3" => true,
        "tlsv1.2" => false,
        _ => {
            import.changed(&line.at, format!("`{} {}`", line.key, line.value), "TLS 1.2 and 1.3 are spoken");
            false
        }
    }
}

fn origins(import: &mut Import<'_>, block: &mut Block, section: &mut Section) {
    let written: Vec<String> =
        block.take_all("websockets_origin").into_iter().map(|line| line.value).collect();
    if written.is_empty() {
        section.comment("Mosquitto lets every web page connect; name yours here instead of \"*\".");
        section.set(&keys::LISTENER_ALLOWED_ORIGINS, vec!["*".to_owned()]);
        let why = "every web page may connect, as in Mosquitto; name yours in `allowed_origins`";
        import.changed(&block.at, "the origins of web pages", why);
    } else {
        section.set(&keys::LISTENER_ALLOWED_ORIGINS, written);
    }
}
