//! The line of those who wait for their password to be checked.

use std::collections::VecDeque;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

/// First come, first served, with a limit on all, on those of one address, and on those of one name there.
///
/// One address cannot fill the line, and guessing at a name from one address keeps nobody out who comes with that name
/// from another one.
#[derive(Debug)]
pub(super) struct Line<T> {
    limits: LineLimits,
    waiting: VecDeque<(Place, T)>,
    by_address: FxHashMap<IpAddr, usize>,
    by_name: FxHashMap<Place, usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LineLimits {
    pub(super) waiting_max: usize,
    pub(super) per_address_max: usize,
    pub(super) per_name_max: usize,
}

/// Who waits: the address that it comes from and a number for the name that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    address: Option<IpAddr>,
    name_id: u64,
}

impl Place {
    pub(super) fn new(address: Option<IpAddr>, name_id: u64) -> Self {
        Self { address: address.map(site), name_id }
    }
}

impl<T> Line<T> {
    pub(super) fn new(limits: LineLimits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            by_address: FxHashMap::default(),
            by_name: FxHashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Appends one who waits, unless a limit is reached.
    pub(super) fn push(&mut self, place: Place, who: T) -> Result<(), LineFull> {
        let of_address =
            place.address.and_then(|address| self.by_address.get(&address)).copied().unwrap_or(0);
        let of_name = self.by_name.get(&place).copied().unwrap_or(0);
        if self.waiting.len() >= self.limits.waiting_max
            || of_address >= self.limits.per_address_max
            || of_name >= self.limits.per_name_max
        {
            return Err(LineFull);
        }
        if let Some(address) = place.address {
            self.by_address.insert(address, of_address + 1);
        }
        self.by_name.insert(place, of_name + 1);
        self.waiting.push_back((place, who));
        Ok(())
    }

    /// Takes the first one out.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (place, who) = self.waiting.pop_front()?;
        if let Some(address) = place.address {
            release(&mut self.by_address, address);
        }
        release(&mut self.by_name, place);
        Some(who)
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.by_address.clear();
        self.by_name.clear();
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineFull;

fn release<K: Eq + std::hash::Hash>(counts: &mut FxHashMap<K, usize>, key: K) {
    match counts.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => _ = counts.remove(&key),
    }
}

/// Returns the address that stands for all that one site has: in IPv6 that is a network of 64 bits.
fn site(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !(u64::MAX as u128);
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & NETWORK).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(waiting_max: usize, per_address_max: usize, per_name_max: usize) -> Line<u32> {
        Line::new(LineLimits { waiting_max, per_address_max, per_name_max })
    }

    fn place(address: &str, name_id: u64) -> Place {
        Place::new(Some(address.parse().unwrap()), name_id)
    }

    #[test]
    fn serves_in_order_and_forgets_who_left() {
        let mut line = line(3, 3, 3);
        for n in 0..3 {
            line.push(place("10.0.0.1", 1), n).unwrap();
        }
        assert_eq!(line.push(place("10.0.0.2", 2), 3), Err(LineFull));
        assert_eq!([line.pop(), line.pop(), line.pop(), line.pop()], [Some(0), Some(1), Some(2), None]);
        assert!(line.by_address.is_empty() && line.by_name.is_empty());
    }

    #[test]
    fn one_name_does_not_take_the_places_of_others() {
        let mut line = line(100, 100, 2);
        line.push(place("10.0.0.1", 1), 0).unwrap();
        line.push(place("10.0.0.1", 1), 0).unwrap();
        assert_eq!(line.push(place("10.0.0.1", 1), 0), Err(LineFull));
        assert_eq!(line.push(place("10.0.0.1", 2), 0), Ok(()));
        assert_eq!(line.push(place("10.0.0.2", 1), 0), Ok(()), "the name may come in from elsewhere");
        line.pop();
        assert_eq!(line.push(place("10.0.0.1", 1), 0), Ok(()));
    }

    #[test]
    fn one_site_does_not_fill_the_line_whatever_names_it_gives() {
        let mut line = line(100, 2, 2);
        line.push(place("2001:db8::1", 1), 0).unwrap();
        line.push(place("2001:db8::2", 2), 0).unwrap();
        assert_eq!(line.push(place("2001:db8::3", 3), 0), Err(LineFull), "the same network");
        assert_eq!(line.push(place("2001:db8:0:1::3", 3), 0), Ok(()), "another network");
        line.push(place("10.0.0.1", 1), 0).unwrap();
        line.push(place("::ffff:10.0.0.1", 2), 0).unwrap();
        assert_eq!(line.push(place("10.0.0.1", 3), 0), Err(LineFull), "one address in two spellings");
    }
}
