//! Filters that nearly match: pure, over texts.

use std::collections::BTreeSet;

use crosspoint_protocol::TopicFilter;

/// How many letters a level may be mistaken in.
const LETTERS_MAX: usize = 2;

/// A live topic that a filter nearly matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    /// The topic.
    pub(super) topic: String,
    /// The filter that would match it.
    pub(super) meant: String,
    /// What is wrong, in plain words.
    pub(super) what: &'static str,
}

/// Finds a live topic that a filter nearly matches; the surest kind of mistake first.
pub(super) fn near_miss(filter: &TopicFilter, live: &BTreeSet<String>) -> Option<Miss> {
    let text = filter.topic_part();
    KINDS.iter().find_map(|(what, mend)| {
        live.iter().find_map(|topic| {
            let meant = mend(text, topic)?;
            let matches =
                meant != text && TopicFilter::parse(meant.clone()).is_ok_and(|meant| meant.matches(topic));
            matches.then(|| Miss { topic: topic.clone(), meant, what })
        })
    })
}

/// Makes, of a filter and a topic, the filter that was perhaps meant.
type Mend = fn(&str, &str) -> Option<String>;

const KINDS: &[(&str, Mend)] = &[
    ("upper and lower case differ", |filter, topic| {
        like(filter, topic, |a, b| a.to_lowercase() == b.to_lowercase())
    }),
    ("the topic begins with no `/`", |filter, topic| {
        let bare = filter.strip_prefix('/')?;
        like(bare, topic, |a, b| a.to_lowercase() == b.to_lowercase())
    }),
    ("the topic begins with a `/`", |filter, topic| {
        like(&format!("/{filter}"), topic, |a, b| a.to_lowercase() == b.to_lowercase())
    }),
    ("a `/` at the end is one level more", |filter, topic| {
        let other = filter.strip_suffix('/').map_or_else(|| format!("{filter}/"), str::to_owned);
        like(&other, topic, |a, b| a == b)
    }),
    ("`*` is no wildcard in MQTT: `+` is one level, `#` all that follow", |filter, _| {
        filter.contains('*').then(|| of_stars(filter))
    }),
    ("`+` is exactly one level; `#` is all that follow", |filter, _| {
        Some(format!("{}/#", filter.strip_suffix("/+")?))
    }),
    ("`#` is all that follow; a topic goes on here", |filter, topic| {
        topic.starts_with(&format!("{filter}/")).then(|| format!("{filter}/#"))
    }),
    ("there is a blank too many or too few", |filter, topic| {
        like(filter, topic, |a, b| a.trim() == b.trim())
    }),
    ("it is spelt a little differently", |filter, topic| {
        like(filter, topic, |a, b| {
            let letters = strsim::damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase());
            letters <= LETTERS_MAX && letters * 2 < a.chars().count()
        })
    }),
];

/// Gives the levels of a filter the words of a topic, if those are alike; wildcards stay.
fn like(filter: &str, topic: &str, is_alike: impl Fn(&str, &str) -> bool) -> Option<String> {
    let mut meant = Vec::new();
    let mut words = topic.split('/');
    for level in filter.split('/') {
        match (level, words.next()) {
            ("#", _) => {
                meant.push("#");
                return Some(meant.join("/"));
            }
            ("+", Some(_)) => meant.push("+"),
            (level, Some(word)) if level == word || is_alike(level, word) => meant.push(word),
            _ => return None,
        }
    }
    words.next().is_none().then(|| meant.join("/"))
}

fn of_stars(filter: &str) -> String {
    let count = filter.split('/').count();
    let levels = filter.split('/').enumerate().map(|(index, level)| match level {
        "**" => "#",
        "*" if index + 1 == count => "#",
        "*" => "+",
        other => other,
    });
    levels.collect::<Vec<_>>().join("/")
}

/// Returns the live topics that share the most levels with a filter.
pub(super) fn neighbours(filter: &TopicFilter, live: &BTreeSet<String>, count: usize) -> Vec<String> {
    let shared = |topic: &String| {
        let words = topic.split('/').map(str::to_lowercase);
        filter.levels().map(str::to_lowercase).zip(words).take_while(|(a, b)| a == b || a == "+").count()
    };
    let mut near: Vec<(usize, &String)> = live.iter().map(|topic| (shared(topic), topic)).collect();
    near.retain(|(shared, _)| *shared > 0);
    near.sort_by(|(a, x), (b, y)| b.cmp(a).then(x.cmp(y)));
    near.into_iter().take(count).map(|(_, topic)| topic.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(topics: &[&str]) -> BTreeSet<String> {
        topics.iter().map(|topic| (*topic).to_owned()).collect()
    }

    #[test]
    fn every_kind_of_near_miss_is_found_and_mended() {
        for (filter, topic, meant, what) in [
            ("Sensors/temp", "sensors/temp", "sensors/temp", "case"),
            ("Sensors/+/x", "sensors/a/x", "sensors/+/x", "case"),
            ("Sensors/#", "sensors/a/b", "sensors/#", "case"),
            ("/sensors/temp", "sensors/temp", "sensors/temp", "no `/`"),
            ("sensors/temp", "/sensors/temp", "/sensors/temp", "with a `/`"),
            ("/Sensors/+", "sensors/a", "sensors/+", "no `/`"),
            ("sensors/temp/", "sensors/temp", "sensors/temp", "at the end"),
            ("sensors/temp", "sensors/temp/", "sensors/temp/", "at the end"),
            ("sensors/*", "sensors/a/b", "sensors/#", "no wildcard"),
            ("sensors/*/x", "sensors/a/x", "sensors/+/x", "no wildcard"),
            ("sensors/+", "sensors/a/b", "sensors/#", "exactly one level"),
            ("sensors", "sensors/a", "sensors/#", "goes on"),
            ("sensors /temp", "sensors/temp", "sensors/temp", "blank"),
            ("sensers/temp", "sensors/temp", "sensors/temp", "spelt"),
        ] {
            let miss = near_miss(&TopicFilter::parse(filter).unwrap(), &live(&[topic, "other/x"]));
            let miss = miss.unwrap_or_else(|| panic!("{filter} {topic}"));
            assert_eq!((miss.meant.as_str(), miss.topic.as_str()), (meant, topic), "{filter}");
            assert!(miss.what.contains(what), "{filter}: {}", miss.what);
        }
    }

    #[test]
    fn what_is_only_far_away_is_no_near_miss() {
        for (filter, topic) in [("sensors/temp", "actors/valve"), ("a/b", "a/c"), ("a/+/c", "a/x/d/e")] {
            assert_eq!(near_miss(&TopicFilter::parse(filter).unwrap(), &live(&[topic])), None, "{filter}");
        }
    }

    #[test]
    fn the_nearest_neighbours_come_first() {
        let filter = TopicFilter::parse("plant/line1/temp").unwrap();
        let near = neighbours(&filter, &live(&["plant/line2/x", "plant/line1/rpm", "office/y"]), 3);
        assert_eq!(near, ["plant/line1/rpm", "plant/line2/x"]);
    }
}
