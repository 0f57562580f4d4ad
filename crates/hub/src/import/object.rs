//! A JSON object, or a mapping of YAML, whose members are taken one by one; those that nothing takes are named.

use serde_json::Value;

use super::Import;

/// The members of an object that are not taken yet.
pub(super) struct Object {
    /// Where it stands, for notes.
    pub(super) at: String,
    members: Vec<(String, Value)>,
}

impl Object {
    /// Takes an object over; `None` for any other value.
    pub(super) fn of(at: impl Into<String>, value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { at: at.into(), members: members.into_iter().collect() }),
            _ => None,
        }
    }

    /// Returns the object once more, for another that needs the same.
    pub(super) fn copy(&self) -> Self {
        Self { at: self.at.clone(), members: self.members.clone() }
    }

    /// Returns an object without members in the same place.
    pub(super) fn empty(&self) -> Self {
        Self { at: self.at.clone(), members: Vec::new() }
    }

    /// Tells whether there is a member with this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|(other, _)| plain(other) == key)
    }

    /// Takes the member with one of these keys, written in lower case without blanks and signs.
    pub(super) fn take(&mut self, keys: &[&str]) -> Option<Value> {
        let at = self.members.iter().position(|(key, _)| keys.contains(&plain(key).as_str()))?;
        Some(self.members.remove(at).1)
    }

    /// Takes a text or a number as text; an empty one is none.
    pub(super) fn text(&mut self, keys: &[&str]) -> Option<String> {
        self.take_if(keys, |value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null => Some(String::new()),
            _ => None,
        })
        .filter(|text| !text.is_empty())
    }

    /// Takes a whole number, also one that is written as text.
    pub(super) fn integer(&mut self, keys: &[&str]) -> Option<i64> {
        self.take_if(keys, |value| match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// Takes a flag, also one that is written as text.
    pub(super) fn flag(&mut self, keys: &[&str]) -> Option<bool> {
        self.take_if(keys, |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// Takes an object.
    pub(super) fn object(&mut self, keys: &[&str]) -> Option<Self> {
        let value = self.take_if(keys, |value| value.is_object().then(|| value.clone()))?;
        Self::of(format!("{}.{}", self.at, keys.first().copied().unwrap_or_default()), value)
    }

    /// Takes the objects of a list, each with its place.
    pub(super) fn objects(&mut self, keys: &[&str]) -> Vec<Self> {
        let list = self.take_if(keys, |value| value.as_array().cloned()).unwrap_or_default();
        let at = |index: usize| format!("{}.{}[{index}]", self.at, keys.first().copied().unwrap_or_default());
        list.into_iter().enumerate().filter_map(|(index, value)| Self::of(at(index), value)).collect()
    }

    /// Takes the members of another object over; those that are there already stay.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, value) in other.members {
            if !self.has(&plain(&key)) {
                self.members.push((key, value));
            }
        }
    }

    /// Adds a member.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        self.members.push((key.to_owned(), value));
    }

    /// Tells whether a value in it, at any depth, bears a tag of YAML.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        fn is_in(value: &Value, tag: &str) -> bool {
            match value {
                Value::Object(members) => {
                    members.contains_key(tag) || members.values().any(|value| is_in(value, tag))
                }
                Value::Array(items) => items.iter().any(|value| is_in(value, tag)),
                _ => false,
            }
        }
        self.members.iter().any(|(_, value)| is_in(value, tag))
    }

    /// Tells whether a member bears a tag of YAML.
    pub(super) fn has_tag_at(&self, key: &str, tag: &str) -> bool {
        self.members.iter().any(|(other, value)| other == key && value.get(tag).is_some())
    }

    /// Replaces values that bear a tag of YAML, at any depth, by what is returned for the tag and its text.
    pub(super) fn replace_tags(&mut self, mut with: impl FnMut(&str, &str) -> Option<Value>) {
        fn walk(value: &mut Value, with: &mut dyn FnMut(&str, &str) -> Option<Value>) {
            match value {
                Value::Object(members) => {
                    let tag =
                        members.iter().next().filter(|(key, _)| members.len() == 1 && key.starts_with('!'));
                    let new = tag.and_then(|(tag, text)| with(tag, text.as_str().unwrap_or_default()));
                    match new {
                        Some(new) => *value = new,
                        None => members.values_mut().for_each(|value| walk(value, with)),
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(|value| walk(value, with)),
                _ => {}
            }
        }
        self.members.iter_mut().for_each(|(_, value)| walk(value, &mut with));
    }

    /// Takes members out that are no settings, such as where a node is drawn.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        self.members.retain(|(key, _)| !keys.contains(&plain(key).as_str()));
    }

    /// Names what is left; members without a value say nothing.
    pub(super) fn name_rest(self, import: &mut Import<'_>, why: impl Fn(&str) -> Option<&'static str>) {
        for (key, value) in self.members {
            let says_nothing = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(members) => members.is_empty(),
                _ => false,
            };
            if !says_nothing {
                let why = why(&plain(&key)).unwrap_or("it is not known here, or not what was expected there");
                import.left_out(&self.at, format!("`{key}`"), why);
            }
        }
    }

    /// Takes a member if it is what was expected; one that is not stays, and is named in the end.
    fn take_if<T>(&mut self, keys: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let at = self.members.iter().position(|(key, _)| keys.contains(&plain(key).as_str()))?;
        let found = self.members.get(at).and_then(|(_, value)| read(value))?;
        self.members.remove(at);
        Some(found)
    }
}

/// Returns a key in lower case, without blanks and signs: `Keep Alive (s)` is `keepalives`.
fn plain(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
