//! From parts to the filter of everything that can come out.

use crosspoint_protocol::TopicFilter;

use super::Part;

pub(super) fn widen(parts: &[Part], source: &TopicFilter, connector: &str) -> Option<TopicFilter> {
    let levels: Vec<&str> = source.topic_part().split('/').collect();
    let mut wide = Wide::default();
    for part in parts {
        match part {
            Part::Literal(text) => wide.push_text(text),
            Part::Connector => wide.push_text(connector),
            Part::Topic => wide.push_levels(&levels),
            Part::Level(level) => wide.push_one(level_of(&levels, *level)?),
            Part::LevelsFrom(from) => wide.push_levels(tail_of(&levels, *from)?),
            // The field may hold slashes, so every depth is possible.
            Part::Payload(_) => wide.push_levels(&["#"]),
        }
    }
    // Only a text beyond the limits of a topic fails here; the widest filter is never wrong.
    wide.finish().or_else(|| TopicFilter::parse("#").ok())
}

fn level_of<'a>(levels: &[&'a str], level: usize) -> Option<&'a str> {
    match levels.get(level) {
        Some(&"#") => Some("+"),
        Some(text) => Some(text),
        None => (levels.last() == Some(&"#")).then_some("+"),
    }
}

fn tail_of<'a, 'b>(levels: &'b [&'a str], from: usize) -> Option<&'b [&'a str]> {
    match levels.get(from..) {
        Some(tail) if !tail.is_empty() => Some(tail),
        _ => levels.last().filter(|last| **last == "#").map(std::slice::from_ref),
    }
}

/// A filter in the making.
#[derive(Default)]
struct Wide {
    done: String,
    level: String,
    is_wild: bool,
    is_open: bool,
    /// The `#` may stand for nothing, so what comes next may still belong to the level before it.
    is_loose: bool,
}

impl Wide {
    fn push_text(&mut self, text: &str) {
        if self.is_open {
            return self.push_after_open(text);
        }
        let mut levels = text.split('/');
        self.level.push_str(levels.next().unwrap_or_default());
        for level in levels {
            self.end_level();
            self.level.push_str(level);
        }
    }

    fn push_one(&mut self, level: &str) {
        match level {
            level if self.is_open => self.push_after_open(level),
            "+" => self.is_wild = true,
            text => self.level.push_str(text),
        }
    }

    fn push_levels(&mut self, levels: &[&str]) {
        if self.is_open {
            return self.push_after_open(&levels.join("/"));
        }
        for (index, level) in levels.iter().enumerate() {
            if index > 0 {
                self.end_level();
            }
            match *level {
                "#" => {
                    self.is_loose = index > 0;
                    self.open();
                }
                level => self.push_one(level),
            }
        }
    }

    /// From here on everything is possible, so what follows cannot narrow it.
    fn open(&mut self) {
        if !self.level.is_empty() || self.is_wild {
            self.is_wild = true;
            self.end_level();
        }
        self.done.push('#');
        self.is_open = true;
    }

    /// Widens the level before `#` when text follows that no slash parts from it.
    fn push_after_open(&mut self, text: &str) {
        if text.is_empty() || !std::mem::take(&mut self.is_loose) || text.starts_with('/') {
            return;
        }
        let before = self.done.strip_suffix("/#").unwrap_or_default();
        let level_start = before.rfind('/').map_or(0, |slash| slash + 1);
        self.done.truncate(level_start);
        self.done.push_str("+/#");
    }

    fn end_level(&mut self) {
        let wild = std::mem::take(&mut self.is_wild);
        let level = std::mem::take(&mut self.level);
        self.done.push_str(if wild { "+" } else { &level });
        self.done.push('/');
    }

    fn finish(mut self) -> Option<TopicFilter> {
        if !self.is_open {
            self.end_level();
            self.done.pop();
        }
        TopicFilter::parse(self.done).ok()
    }
}
