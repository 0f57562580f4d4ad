//! Messages at QoS 0, which go to their receiver already encoded.

use crosspoint_protocol::{Now, QoS, Version, limits::PAYLOAD_COPY_BYTES_MAX, message::PublishHead};

use super::Routed;
use crate::{
    mailbox::{Left, Mailbox},
    workspace::Workspace,
};

/// Leaves a message at QoS 0, encoded for its receiver.
pub(super) fn leave_direct(
    mailbox: &mut Mailbox,
    head: &PublishHead<'_>,
    routed: &mut Routed<'_>,
    is_shared: bool,
    workspace: &mut Workspace,
    now: Now,
) -> Left {
    let bytes = routed.parts.encoded_len(head);
    if !mailbox.is_online {
        return Left::Absent;
    }
    if bytes > mailbox.receiver.packet_bytes_max {
        return Left::TooLarge;
    }
    if !mailbox.has_direct_room(bytes) {
        return Left::Dropped;
    }
    mailbox.note_direct();
    workspace.lend(&mut mailbox.direct);
    if !is_shared {
        routed.parts.encode(head, now, mailbox.direct.bytes());
    } else if routed.parts.payload.len() > PAYLOAD_COPY_BYTES_MAX {
        routed.message().encode(head, now, &mut mailbox.direct);
    } else if head.subscription_ids.is_empty() {
        let encoded = workspace.layouts.encoded(head, &routed.parts, now);
        mailbox.direct.bytes().extend_from_slice(encoded);
    } else {
        routed.parts.encode(head, now, mailbox.direct.bytes());
    }
    Left::Waiting
}

pub(super) fn head_of_direct(version: Version, retain: bool, subscription_ids: &[u32]) -> PublishHead<'_> {
    PublishHead {
        version,
        qos: QoS::AtMostOnce,
        retain,
        dup: false,
        packet_id: 0,
        topic_alias: 0,
        omit_topic: false,
        subscription_ids,
    }
}
