//! What must hold of the options, as far as it can be told without a server.

use crosspoint_protocol::Version;
use crosspoint_protocol::limits::{CLIENT_ID_BYTES_MAX_V3_1, PACKET_BYTES_MAX, STRING_BYTES_MAX};

use crosspoint_protocol::scram;

use super::{ClientOptions, Protocol, SessionKeeping};
use crate::{Authentication, OptionsError};

impl ClientOptions {
    /// Checks everything that can be checked without a server.
    ///
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn check(&self) -> Result<(), OptionsError> {
        if self.servers.is_empty() {
            return Err(OptionsError::NoServer);
        }
        self.check_numbers()?;
        self.check_watch()?;
        if self.reconnect_min_ms > self.reconnect_max_ms {
            return Err(OptionsError::ReconnectRange {
                min: self.reconnect_min_ms,
                max: self.reconnect_max_ms,
            });
        }
        if self.session == SessionKeeping::Durable && self.client_id.is_empty() {
            return Err(OptionsError::DurableWithoutClientId);
        }
        if self.protocol == Protocol::V3_1 && self.client_id.len() > CLIENT_ID_BYTES_MAX_V3_1 {
            return Err(OptionsError::ClientId { what: "has more than the 23 bytes that MQTT 3.1 allows" });
        }
        if self.password.is_some() && self.username.is_none() && self.protocol != Protocol::V5 {
            return Err(OptionsError::PasswordWithoutUsername);
        }
        self.check_scram()?;
        self.check_lengths()
    }

    fn check_scram(&self) -> Result<(), OptionsError> {
        if self.authentication != Authentication::ScramSha256 {
            return Ok(());
        }
        if !matches!(self.protocol, Protocol::Auto | Protocol::V5) {
            return Err(OptionsError::ScramVersion);
        }
        match (self.username.as_deref(), &self.password) {
            (Some(username), Some(password)) if !username.is_empty() => {
                // Whether both can be prepared does not hang on the nonce.
                let begun = scram::ClientExchange::begin(username, &password.bytes(), "nonce");
                begun.map(|_| ()).map_err(OptionsError::Scram)
            }
            _ => Err(OptionsError::ScramWithoutLogin),
        }
    }

    fn check_numbers(&self) -> Result<(), OptionsError> {
        let bounds = [
            ("ping_timeout_ms", self.ping_timeout_ms, 100, 300_000),
            ("connect_timeout_ms", self.connect_timeout_ms, 100, 300_000),
            ("reconnect_min_ms", self.reconnect_min_ms, 10, 3_600_000),
            ("reconnect_max_ms", self.reconnect_max_ms, 10, 3_600_000),
            ("receive_maximum", u64::from(self.receive_maximum), 1, 65_535),
            ("packet_bytes_max", u64::from(self.packet_bytes_max), 1_024, PACKET_BYTES_MAX as u64),
            ("in_flight_max", u64::from(self.in_flight_max_with(Version::V5)), 1, 16_000),
            ("publish_queue_max", self.publish_queue_max as u64, 1, 1_000_000),
            ("delivery_queue_max", self.delivery_queue_max as u64, 1, 1_000_000),
            ("delivery_queue_max bytes", self.delivery_queue_bytes_max as u64, 1 << 10, 16 << 30),
            ("redelivery_ms min", self.redelivery_min_ms, 1, 3_600_000),
            ("redelivery_ms max", self.redelivery_max_ms, self.redelivery_min_ms, 3_600_000),
        ];
        for (setting, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(OptionsError::OutOfBounds { setting, value, min, max });
            }
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), OptionsError> {
        let lengths = [
            ("client_id", self.client_id.len()),
            ("username", self.username.as_ref().map_or(0, String::len)),
            ("password", self.password.as_ref().map_or(0, |password| password.bytes().len())),
        ];
        for (setting, bytes) in lengths {
            if bytes > STRING_BYTES_MAX {
                return Err(OptionsError::TooLong { setting, bytes });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_net::{DialOptions, Transport};
    use crosspoint_protocol::TopicName;

    use super::*;

    fn options() -> ClientOptions {
        ClientOptions::default().server(DialOptions::new(Transport::Tcp, "localhost", 1883))
    }

    #[test]
    fn defaults_with_a_server_are_valid() {
        assert_eq!(options().check(), Ok(()));
        assert_eq!(ClientOptions::default().check(), Err(OptionsError::NoServer));
    }

    #[test]
    fn out_of_bounds_names_setting_and_bound() {
        let error = options().connect_timeout_ms(99).check().unwrap_err();
        assert_eq!(error.to_string(), "connect_timeout_ms is 99; it must be 100 to 300000");
        assert!(matches!(
            options().reconnect_ms(20, 10).check(),
            Err(OptionsError::ReconnectRange { min: 20, max: 10 })
        ));
    }

    #[test]
    fn an_ack_deadline_is_off_or_within_its_bounds() {
        assert_eq!(options().ack_deadline_ms(0).check(), Ok(()));
        let error = options().ack_deadline_ms(999).check().unwrap_err();
        assert_eq!(error.to_string(), "ack_deadline_ms is 999; it must be 1000 to 3600000");
    }

    #[test]
    fn a_canary_has_an_interval_within_its_bounds_and_an_ordinary_topic() {
        let canary = |topic: &str, interval_ms| {
            options().canary(TopicName::parse(topic.to_owned()).unwrap(), interval_ms).check()
        };
        assert_eq!(canary("canary", 1_000), Ok(()));
        assert!(matches!(canary("canary", 3_600_001), Err(OptionsError::OutOfBounds { max: 3_600_000, .. })));
        assert_eq!(canary("$share/a/b", 1_000), Err(OptionsError::CanaryTopic));
    }

    #[test]
    fn a_durable_session_needs_a_client_id() {
        let durable = options().session(SessionKeeping::Durable);
        assert_eq!(durable.clone().check(), Err(OptionsError::DurableWithoutClientId));
        assert_eq!(durable.client_id("x").check(), Ok(()));
    }

    #[test]
    fn scram_needs_a_login_that_it_can_prepare_and_mqtt_5() {
        let scram = || options().authentication(Authentication::ScramSha256).username("u");
        assert_eq!(scram().password("p").check(), Ok(()));
        assert_eq!(scram().check(), Err(OptionsError::ScramWithoutLogin));
        assert_eq!(scram().password("p").protocol(Protocol::V3_1_1).check(), Err(OptionsError::ScramVersion));
        assert!(matches!(scram().password("\u{7}").check(), Err(OptionsError::Scram(_))));
    }

    #[test]
    fn a_long_client_id_is_refused_for_3_1_only() {
        let long = options().client_id("x".repeat(24));
        assert_eq!(long.clone().check(), Ok(()));
        assert!(matches!(long.protocol(Protocol::V3_1).check(), Err(OptionsError::ClientId { .. })));
    }
}
