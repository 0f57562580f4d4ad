//! Why a key of `mosquitto.conf` is not carried over.

/// Returns the reason; `None` for a key that is not known.
pub(super) fn of(key: &str) -> Option<&'static str> {
    let why = match key {
        "autosave_interval"
        | "autosave_on_changes"
        | "persistence_file"
        | "persistence_location"
        | "retained_persistence" => "everything is stored as it comes, in the folder of --data",
        "log_dest"
        | "log_facility"
        | "log_timestamp"
        | "log_timestamp_format"
        | "log_type"
        | "connection_messages"
        | "websockets_log_level" => {
            "the log goes to the standard error; the variable RUST_LOG says how much of it"
        }
        "pid_file" => "there is none; the service manager knows the process",
        "user" => "the program runs as whoever starts it; the service manager says who",
        "memory_limit" => "limits are those of each session and of connections",
        "set_tcp_nodelay" => "it is always on",
        "retry_interval"
        | "max_inflight_bytes"
        | "upgrade_outgoing_qos"
        | "queue_qos0_messages"
        | "allow_duplicate_messages"
        | "check_retain_source"
        | "packet_buffer_size"
        | "max_topic_alias"
        | "max_topic_alias_broker"
        | "global_max_clients" => "there is nothing to set it with",
        "retain_available" | "retain_expiry_interval" => {
            "retained messages are always available and do not expire by themselves"
        }
        "sys_interval" => "$SYS is published every 10 seconds",
        "clientid_prefixes" | "auto_id_prefix" | "listener_auto_id_prefix" | "allow_zero_length_clientid" => {
            "client identifiers are free, and made for clients that give none"
        }
        "use_username_as_clientid" => "the client identifier stays the one that the client gives",
        "accept_protocol_versions" | "max_qos" | "maximum_qos" => {
            "every listener takes 3.1, 3.1.1 and 5.0 and every QoS"
        }
        "enable_control_api"
        | "plugin_load"
        | "plugin_use"
        | "global_plugin"
        | "plugin"
        | "auth_plugin"
        | "auth_plugin_deny_special_chars" => "plugins of Mosquitto do not run here",
        "bind_interface" => "write the address of the interface to `bind`",
        "ciphers"
        | "ciphers_tls1.3"
        | "dhparamfile"
        | "tls_engine"
        | "tls_engine_kpass_sha1"
        | "tls_keyform" => "the cipher suites are those that are safe, and keys are files",
        "http_dir" | "websockets_headers_size" => "the listener serves no files, and sizes are its own",
        "cafile" | "capath" => "authorities are asked for with `require_certificate true` only",
        "max_connections" => "the limit is one of all listeners together",
        "enable_proxy_protocol" | "proxy_protocol_v2_require_tls" => {
            "this listener would take the proxy for the client"
        }
        "disable_client_cert_date_checks" => "dates of certificates are always checked",
        "psk_hint" => "there is no TLS with pre-shared keys",
        key if key.starts_with("auth_opt_") || key.starts_with("plugin_opt_") => {
            "plugins of Mosquitto do not run here"
        }
        _ => return bridge(key),
    };
    Some(why)
}

fn bridge(key: &str) -> Option<&'static str> {
    Some(match key {
        "bridge_attempt_unsubscribe" => "what a flow no longer wants is always unsubscribed",
        "bridge_bind_address" => "the system chooses the address",
        "bridge_capath" => "name the file of the authority in `tls.ca`",
        "bridge_ciphers" | "bridge_ciphers_tls1.3" | "bridge_require_ocsp" | "bridge_tls_use_os_certs" => {
            "there is nothing to set it with"
        }
        "bridge_reload_type" => "a changed connector connects again at once",
        "bridge_receive_maximum" | "bridge_tcp_keepalive" | "bridge_tcp_user_timeout" => {
            "there is nothing to set it with"
        }
        "local_cleansession" | "local_clientid" | "local_password" | "local_username" => {
            "flows reach the embedded broker without signing in"
        }
        "threshold" | "idle_timeout" => "a connector is always connected",
        "round_robin" => "addresses are tried in the order of the list",
        _ => return None,
    })
}
