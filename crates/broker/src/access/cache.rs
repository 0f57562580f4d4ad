//! Which passwords were found right a short while ago.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::keyed::Tag;

/// Tags of right passwords, bounded in number and in age. A wrong password is never in here.
#[derive(Debug)]
pub(super) struct Cache {
    entries_max: usize,
    lifetime: Duration,
    /// The tags are keyed hashes, so nobody can choose some that collide.
    verified: FxHashMap<Tag, Instant>,
    /// The same, oldest first, and what has been verified again since.
    order: VecDeque<(Tag, Instant)>,
}

impl Cache {
    pub(super) fn new(entries_max: usize, lifetime: Duration) -> Self {
        Self { entries_max, lifetime, verified: FxHashMap::default(), order: VecDeque::new() }
    }

    /// Remembers a right password from `now` on; forgets the oldest if there are too many.
    pub(super) fn insert(&mut self, tag: Tag, now: Instant) {
        while self.order.front().is_some_and(|(_, at)| self.is_over(*at, now)) {
            self.forget_oldest();
        }
        self.verified.insert(tag, now);
        self.order.push_back((tag, now));
        while self.order.len() > self.entries_max {
            self.forget_oldest();
        }
    }

    /// Tells whether this password was found right within the lifetime before `now`.
    pub(super) fn contains(&self, tag: &Tag, now: Instant) -> bool {
        self.verified.get(tag).is_some_and(|at| !self.is_over(*at, now))
    }

    fn forget_oldest(&mut self) {
        let Some((tag, at)) = self.order.pop_front() else { return };
        if self.verified.get(&tag) == Some(&at) {
            self.verified.remove(&tag);
        }
    }

    fn is_over(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) >= self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    #[test]
    fn an_entry_lives_for_its_lifetime_and_not_longer() {
        let start = Instant::now();
        let mut cache = Cache::new(10, LIFETIME);
        cache.insert([1; 32], start);
        assert!(cache.contains(&[1; 32], start + LIFETIME - Duration::from_millis(1)));
        assert!(!cache.contains(&[1; 32], start + LIFETIME));
        assert!(!cache.contains(&[2; 32], start));
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let start = Instant::now();
        let mut cache = Cache::new(3, LIFETIME);
        for n in 0..5 {
            cache.insert([n; 32], start + Duration::from_secs(u64::from(n)));
        }
        let kept: Vec<bool> =
            (0..5).map(|n| cache.contains(&[n; 32], start + Duration::from_secs(5))).collect();
        assert_eq!(kept, [false, false, true, true, true]);
        assert_eq!((cache.verified.len(), cache.order.len()), (3, 3));
    }

    #[test]
    fn verified_again_lives_longer_and_takes_bounded_room() {
        let start = Instant::now();
        let mut cache = Cache::new(3, LIFETIME);
        for second in 0..10 {
            cache.insert([7; 32], start + Duration::from_secs(second));
        }
        assert!(cache.contains(&[7; 32], start + Duration::from_secs(9) + LIFETIME / 2));
        assert!(cache.order.len() <= 3);
        cache.insert([8; 32], start + LIFETIME * 2);
        assert_eq!(cache.verified.len(), 1, "what is over goes with the next insertion");
    }
}
