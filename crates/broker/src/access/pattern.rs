//! A Topic Filter of a rule, prepared so that comparing a topic with it is mostly one comparison of bytes.

use crosspoint_protocol::TopicFilter;

#[derive(Debug)]
pub(super) struct Pattern {
    filter: TopicFilter,
    shape: Shape,
    /// How many bytes at the beginning every topic that matches has in common, but for [`Shape::Mixed`] exactly
    /// the bytes without the wildcard.
    literal_len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// No wildcard.
    Exact,
    /// `#`: every topic that does not begin with `$`.
    Everything,
    /// `literal/#`.
    Below,
    /// Any other.
    Mixed,
}

impl Pattern {
    pub(super) fn new(filter: TopicFilter) -> Self {
        let text = filter.as_str();
        let first_wildcard = text.find(['+', '#']);
        let (shape, literal_len) = match first_wildcard {
            None => (Shape::Exact, text.len()),
            Some(0) if text == "#" => (Shape::Everything, 0),
            Some(at) if at > 0 && text.get(at..) == Some("#") => (Shape::Below, at - 1),
            Some(at) => (Shape::Mixed, at),
        };
        // A filter has at most 65,535 bytes.
        Self { literal_len: literal_len as u32, shape, filter }
    }

    pub(super) fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// Tells whether a topic matches; the same answer as that of the filter.
    pub(super) fn matches(&self, topic: &str) -> bool {
        let topic_bytes = topic.as_bytes();
        let literal = self.filter.as_bytes().get(..self.literal_len as usize).unwrap_or_default();
        match self.shape {
            Shape::Exact => topic_bytes == literal,
            Shape::Everything => topic_bytes.first() != Some(&b'$'),
            Shape::Below => topic_bytes
                .strip_prefix(literal)
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))),
            Shape::Mixed => topic_bytes.starts_with(literal) && self.filter.matches(topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_filter_on_every_shape() {
        let filters = [
            "a", "a/b", "/", "/a", "a/", "#", "+", "/#", "a/#", "a//#", "a/b/#", "+/#", "+/b", "a/+",
            "a/+/#", "a/+/c", "$SYS/#", "$SYS/+", "$SYS", "+/+", "//#", "/+",
        ];
        let topics = [
            "a", "a/b", "ab", "ab/c", "/", "//", "/a", "a/", "a//", "a//b", "a/b/c", "a/bc", "a/b/", "$SYS",
            "$SYS/a", "$SYS/a/b", "b", "b/b", "A", "$", "$/a",
        ];
        let mut matching = 0;
        for filter in filters {
            let filter = TopicFilter::parse(filter).unwrap();
            let pattern = Pattern::new(filter.clone());
            for topic in topics {
                assert_eq!(pattern.matches(topic), filter.matches(topic), "{filter} and {topic}");
                matching += usize::from(filter.matches(topic));
            }
        }
        assert!(matching > 50, "the table has to hold topics that match");
    }
}
