//! Why a connection of the doctor was not opened, or is of no more use.

use crosspoint_client::{ScramFault, Spoken};
use crosspoint_net::{DialError, TlsCause};
use crosspoint_protocol::Violation;
use crosspoint_protocol::packet::{ConnAck, Disconnect};

use crate::config::plan::MqttPlan;
use crate::diagnosis::{Diagnosis, Fault, of_refusal};

/// Why a connection was not opened.
#[derive(Debug)]
pub(in crate::doctor) enum NotOpened {
    /// There is no stream.
    Dial(DialError),
    /// The broker refused CONNECT.
    Refused(Box<ConnAck>),
    /// The stream ended before CONNACK.
    Closed,
    /// TLS ended before CONNACK; on TLS 1.3 a server judges a client's certificate then.
    Tls(TlsCause),
    /// Nothing came.
    Silent,
    /// What came is no CONNACK.
    Other(Option<Spoken>, Violation),
    /// The exchange of SCRAM failed on our side.
    Scram(ScramFault),
    /// CONNECT cannot be encoded.
    Unsendable(String),
}

/// Why an open connection is of no more use.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::doctor) enum Lost {
    /// The broker ended it and said why.
    Disconnected(Box<Disconnect>),
    /// The stream ended.
    Closed,
    /// The stream failed.
    Stream(String),
    /// The broker broke the protocol.
    Violation(Violation),
    /// An answer did not come in time.
    TimedOut(&'static str),
}

impl Lost {
    /// Says what it means for a connector.
    pub(in crate::doctor) fn into_diagnosis(self, mqtt: &MqttPlan) -> Diagnosis {
        let see = "see the broker's log for why it ended the connection";
        match self {
            Self::Disconnected(said) => {
                of_refusal(mqtt, said.reason, said.reason_string.as_deref(), said.server_reference.as_deref())
            }
            Self::Closed => {
                Diagnosis::new(Fault::ConnectionLost, "the broker closed the connection without a word", see)
            }
            Self::Stream(what) => Diagnosis::new(Fault::ConnectionLost, what, see),
            Self::Violation(violation) => Diagnosis::new(
                Fault::ProtocolViolation,
                format!("the broker breaks the protocol: {violation}"),
                "report it to the maker of the broker",
            ),
            Self::TimedOut("PINGRESP") => Diagnosis::new(
                Fault::KeepAliveTimeout,
                "the broker lets us in and does not answer a ping",
                "check the broker's load, and what stands between here and there",
            ),
            Self::TimedOut(what) => Diagnosis::new(
                Fault::NoAcknowledgements,
                format!("the broker does not answer: {what} did not come in time"),
                "check the broker's load and its disk",
            ),
        }
    }
}
