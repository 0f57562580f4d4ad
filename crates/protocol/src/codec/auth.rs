//! AUTH.

use super::{Direction, EncodeError, Terms, ack, property::PropertyId, reader::Reader, writer::Writer};
use crate::{
    ReasonCode, Version, Violation,
    packet::{Auth, AuthProperties, PacketType},
};

pub(super) fn decode(body: &mut Reader<'_>, terms: Terms) -> Result<Auth, Violation> {
    // What is not there is Success and no properties.
    if body.is_empty() {
        return checked(
            body,
            Auth { reason: ReasonCode::Success, properties: AuthProperties::default() },
            terms,
        );
    }
    let reason = ack::reason(body, PacketType::Auth)?;
    let properties = properties(body)?;
    checked(body, Auth { reason, properties }, terms)
}

fn checked(body: &Reader<'_>, auth: Auth, terms: Terms) -> Result<Auth, Violation> {
    let wrong_sender = match auth.reason {
        ReasonCode::Success => terms.direction == Direction::FromClient,
        ReasonCode::ReAuthenticate => terms.direction == Direction::FromServer,
        _ => false,
    };
    if wrong_sender {
        let what = "success is the server's word and re-authenticate the client's";
        return Err(body.protocol("reason code", what, Some("MQTT-3.15.2-1")));
    }
    match missing_method(&auth) {
        Some(what) => Err(body.protocol(PropertyId::AuthenticationMethod.field(), what, None)),
        None => Ok(auth),
    }
}

/// Tells what is wrong with an AUTH that names no method. Success may leave out everything.
fn missing_method(auth: &Auth) -> Option<&'static str> {
    let may_be_left_out = auth.reason == ReasonCode::Success && auth.properties == AuthProperties::default();
    (auth.properties.method.is_none() && !may_be_left_out).then_some("AUTH without an authentication method")
}

fn properties(body: &mut Reader<'_>) -> Result<AuthProperties, Violation> {
    let mut properties = AuthProperties::default();
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::AuthenticationMethod => block.set(&mut properties.method, id, Reader::string)?,
            PropertyId::AuthenticationData => block.set(&mut properties.data, id, Reader::binary)?,
            PropertyId::ReasonString => block.set(&mut properties.reason_string, id, Reader::string)?,
            PropertyId::UserProperty => block.user_property(&mut properties.user_properties)?,
            _ => return Err(block.not_in_this_packet(id)),
        }
    }
    Ok(properties)
}

pub(super) fn encode(auth: &Auth, version: Version, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    if !version.is_v5() {
        return Err(EncodeError::NotInVersion { field: "AUTH", version });
    }
    ack::check_reason(auth.reason, PacketType::Auth)?;
    if let Some(what) = missing_method(auth) {
        return Err(EncodeError::Invalid { field: PropertyId::AuthenticationMethod.field(), what });
    }
    let properties = &auth.properties;
    if *properties == AuthProperties::default() {
        return Ok(());
    }
    out.u8(auth.reason.byte());
    out.counted(|out| {
        out.property_string(PropertyId::AuthenticationMethod, properties.method.as_ref())?;
        out.property_binary(PropertyId::AuthenticationData, properties.data.as_ref())?;
        out.property_string(PropertyId::ReasonString, properties.reason_string.as_ref())?;
        out.user_properties(&properties.user_properties)
    })
}
