use rustc_hash::FxHashMap;

use crate::TopicName;

/// The Topic Aliases that the peer has set on this connection.
#[derive(Debug, Default)]
pub(super) struct IncomingAliases {
    maximum: u16,
    names: Vec<Option<TopicName>>,
}

impl IncomingAliases {
    pub(super) const fn new(maximum: u16) -> Self {
        Self { maximum, names: Vec::new() }
    }

    /// Sets an alias. Returns `false` if it is 0 or above the maximum [MQTT-3.3.2-9].
    pub(super) fn set(&mut self, alias: u16, name: &TopicName) -> bool {
        let place = usize::from(alias);
        if alias == 0 || alias > self.maximum {
            return false;
        }
        if self.names.len() <= place {
            self.names.resize(place + 1, None);
        }
        if let Some(slot) = self.names.get_mut(place)
            && slot.as_ref() != Some(name)
        {
            *slot = Some(name.compact());
        }
        true
    }

    pub(super) fn name(&self, alias: u16) -> Option<&TopicName> {
        self.names.get(usize::from(alias))?.as_ref()
    }
}

/// The Topic Aliases that this side has set on this connection: the first topics that are published get one.
#[derive(Debug, Default)]
pub(super) struct OutgoingAliases {
    maximum: u16,
    aliases: FxHashMap<Box<[u8]>, u16>,
}

/// How a topic is to be named in a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AliasUse {
    /// The alias; 0 for none.
    pub(super) alias: u16,
    /// Whether the peer knows it, so that the name is left out.
    pub(super) is_known: bool,
}

impl OutgoingAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self { maximum, aliases: FxHashMap::default() }
    }

    /// Looks up how to name a topic, without setting an alias.
    pub(super) fn plan(&self, topic: &[u8]) -> AliasUse {
        if self.maximum == 0 {
            return AliasUse { alias: 0, is_known: false };
        }
        match self.aliases.get(topic) {
            Some(&alias) => AliasUse { alias, is_known: true },
            None => {
                let next = u16::try_from(self.aliases.len() + 1).unwrap_or(u16::MAX);
                let alias = if next <= self.maximum { next } else { 0 };
                AliasUse { alias, is_known: false }
            }
        }
    }

    /// Notes that the PUBLISH which sets an alias has been sent.
    pub(super) fn commit(&mut self, topic: &[u8], used: AliasUse) {
        if used.alias != 0 && !used.is_known {
            self.aliases.insert(topic.into(), used.alias);
        }
    }
}
