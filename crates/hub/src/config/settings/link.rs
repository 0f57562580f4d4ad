//! The keys of how a connection is made and watched below MQTT.

use super::super::setting::{Setting, Shape};

/// The proxy.
pub const PROXY: Setting = Setting::shaped(
    "proxy",
    Shape::TextOrTable(PROXY_ALL),
    "The proxy to go through: http:// (CONNECT), socks5:// or socks5h:// (which also resolves the broker's name) with host \
     and port, as a text or as a table with its user name and password.",
);

/// Where the proxy is.
pub const PROXY_URL: Setting = Setting::optional_text(
    "url",
    "The proxy's kind, host and port: http://, socks5:// or socks5h:// and HOST:PORT.",
);

/// The user name at the proxy.
pub const PROXY_USERNAME: Setting = Setting::optional_text("username", "The user name at the proxy.");

/// The password at the proxy.
pub const PROXY_PASSWORD: Setting = Setting::shaped("password", Shape::Secret, "The password at the proxy.");

const PROXY_ALL: &[&Setting] = &[&PROXY_URL, &PROXY_USERNAME, &PROXY_PASSWORD];

/// The keepalive of TCP.
pub const TCP_KEEPALIVE: Setting = Setting::integer(
    "tcp_keepalive",
    0..=32_767,
    0,
    "After how many seconds of silence the operating system tests the connection, three times within as long again; 0 \
     is off.",
);
