//! What kept subscriptions are: table 23 of `docs/formats/records.md`.

use std::time::Duration;

use bytes::Bytes;
use crosspoint_client::{QoS, TopicFilter};
use crosspoint_store::bytes_in::{self, BytesIn};
use crosspoint_store::{Batch, Store};

use super::{FORM, KEPT_SUBSCRIPTION};
use crate::config::plan::WhenFull;
use crate::kept::{KeptLimits, KeptSubscription};

/// Puts a kept subscription into a batch, with the number of its outbox.
pub(crate) fn put(batch: &mut Batch, kept: &KeptSubscription, number: u64) {
    batch.put(KEPT_SUBSCRIPTION, key(&kept.name), encode(kept, number));
}

/// Puts into a batch that a kept subscription is none any more.
pub(crate) fn forget(batch: &mut Batch, name: &str) {
    batch.delete(KEPT_SUBSCRIPTION, key(name));
}

/// Returns every kept subscription with the number of its outbox, in the order of their names.
///
/// # Errors
/// A row is of a form that this program does not know.
pub(crate) fn all(store: &Store) -> Result<Vec<(KeptSubscription, u64)>, String> {
    let rows = store.scan(KEPT_SUBSCRIPTION, None, usize::MAX);
    let read = |(key, value): (Bytes, Bytes)| {
        let name = String::from_utf8_lossy(&key).into_owned();
        let newer = || format!("the kept subscription `{name}` was written by a newer version");
        decode(&name, &value).ok_or_else(newer)
    };
    rows.into_iter().map(read).collect()
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn encode(kept: &KeptSubscription, number: u64) -> Bytes {
    let limits = &kept.limits;
    let mut value = vec![FORM];
    value.extend_from_slice(&number.to_le_bytes());
    value.push(kept.qos.bits());
    value.push(match limits.when_full {
        WhenFull::Block => 0,
        WhenFull::DropOldest => 1,
        WhenFull::DropNewest => 2,
    });
    bytes_in::put_varint(&mut value, limits.bytes_max);
    bytes_in::put_varint(&mut value, limits.messages_max.unwrap_or_default());
    bytes_in::put_varint(&mut value, limits.age_max.map_or(0, |age| age.as_secs()));
    bytes_in::put_counted(&mut value, kept.connector.as_bytes());
    bytes_in::put_varint(&mut value, kept.filters.len() as u64);
    kept.filters.iter().for_each(|filter| bytes_in::put_counted(&mut value, filter.as_bytes()));
    value.into()
}

fn decode(name: &str, value: &[u8]) -> Option<(KeptSubscription, u64)> {
    let mut bytes = BytesIn::of_form(FORM, value)?;
    let number = bytes.u64()?;
    let qos = QoS::from_bits(bytes.u8()?)?;
    let when_full = match bytes.u8()? {
        0 => WhenFull::Block,
        1 => WhenFull::DropOldest,
        2 => WhenFull::DropNewest,
        _ => return None,
    };
    let mut some = || bytes.varint();
    let (bytes_max, messages, age_s) = (some()?, some()?, some()?);
    let limits = KeptLimits {
        bytes_max,
        messages_max: Some(messages).filter(|messages| *messages > 0),
        age_max: Some(age_s).filter(|age_s| *age_s > 0).map(Duration::from_secs),
        when_full,
    };
    let connector = bytes.text()?.to_owned();
    let mut filters = Vec::new();
    for _ in 0..bytes.varint()? {
        filters.push(TopicFilter::parse(bytes.text()?.to_owned()).ok()?);
    }
    Some((KeptSubscription { name: name.to_owned(), connector, filters, qos, limits }, number))
}

#[cfg(test)]
mod tests {
    use crosspoint_store::Options;

    use super::*;

    fn kept(when_full: WhenFull, some: u64) -> KeptSubscription {
        KeptSubscription {
            name: "night".to_owned(),
            connector: "plant".to_owned(),
            filters: ["a/#", "größe/+"].map(|text| TopicFilter::parse(text).unwrap()).into(),
            qos: QoS::ExactlyOnce,
            limits: KeptLimits {
                bytes_max: 1 << 20,
                messages_max: (some > 0).then_some(some),
                age_max: (some > 0).then_some(Duration::from_secs(some)),
                when_full,
            },
        }
    }

    #[tokio::test]
    async fn what_is_put_comes_back_until_it_is_forgotten() {
        let store = Store::in_memory(Options::default()).unwrap();
        for (some, when_full) in
            [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest].iter().enumerate()
        {
            let kept = kept(*when_full, some as u64);
            let mut batch = Batch::new();
            put(&mut batch, &kept, 300);
            store.commit(batch).await.unwrap();
            assert_eq!(all(&store).unwrap(), [(kept, 300)]);
        }
        let mut batch = Batch::new();
        forget(&mut batch, "night");
        store.commit(batch).await.unwrap();
        assert_eq!(all(&store).unwrap(), []);
    }

    #[test]
    fn no_part_of_a_row_and_no_garbage_is_one() {
        let whole = encode(&kept(WhenFull::Block, 7), 1);
        assert!(decode("night", &whole).is_some());
        assert!((0..whole.len()).all(|end| decode("night", &whole[..end]).is_none()));
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..20_000 {
            let mut bytes = whole.to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            drop(decode("night", &bytes));
        }
        assert_eq!(decode("night", &[&[2], &whole[1..]].concat()), None, "another form");
    }
}
