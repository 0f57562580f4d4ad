//! YAML, as far as Home Assistant writes it: scalars, lists, mappings, anchors, and the tags `!secret`, `!include` and
//! `!env_var`.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// How deep lists and mappings may nest.
const DEPTH_MAX: usize = 64;

/// How many values a file may have, aliases counted as often as they stand.
const VALUES_MAX: usize = 200_000;

/// The key of a tagged value: `{ "!secret": "name" }` is `!secret name`.
pub(super) const TAG: &str = "!";

/// Reads the first document of a text.
///
/// # Errors
/// What is wrong, with its line.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(Value::Null),
            event => return reader.value(event, 0),
        }
    }
}

struct Reader<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<Event<'input>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn value(&mut self, event: Event<'input>, depth: usize) -> Result<Value, String> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err("it nests too deeply, or has too many values".to_owned());
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or(Value::Null);
                self.values += count(&value);
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let own = tag.filter(|tag| tag.handle == "!").map(|tag| tag.suffix.clone());
                let value = match own {
                    Some(name) => tagged(&name, &text),
                    None if style == ScalarStyle::Plain => plain(&text),
                    None => Value::String(text.into_owned()),
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            _ => (Value::Null, 0),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd | Event::StreamEnd => return Ok(Value::Array(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut members = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd | Event::StreamEnd => return Ok(Value::Object(members)),
                event => self.value(event, depth + 1)?,
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            let key = match key {
                Value::String(key) => key,
                other => other.to_string(),
            };
            members.insert(key, value);
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn tagged(name: &str, text: &str) -> Value {
    Value::Object(Map::from_iter([(format!("{TAG}{name}"), Value::String(text.to_owned()))]))
}

/// A text without quotes may be a number, a flag or nothing.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => return Value::Bool(false),
        _ => {}
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && text.len() < 19;
    match text.parse::<i64>() {
        // A number that begins with zero is a text, such as a password or a code.
        Ok(number) if is_number && number.to_string() == text => Value::Number(Number::from(number)),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read;

    #[test]
    fn what_home_assistant_writes() {
        let text = "# a comment\nmqtt:\n  broker: 192.168.1.2\n  port: 8883\n  password: !secret mqtt\n  pin: 0123\n  on: yes\n  \
                    birth_message: &m\n    topic: 'ha/status'\n    retain: false\n  will_message: *m\n  list: [a, \"1\", 2]\n  empty:\n";
        let expected = json!({ "mqtt": {
            "broker": "192.168.1.2", "port": 8883, "password": { "!secret": "mqtt" }, "pin": "0123", "true": true,
            "birth_message": { "topic": "ha/status", "retain": false },
            "will_message": { "topic": "ha/status", "retain": false },
            "list": ["a", "1", 2], "empty": null,
        }});
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), serde_json::Value::Null);
        assert!(read("a: [").is_err() && read("a: b: c").is_err());
    }

    #[test]
    fn a_small_file_does_not_become_a_large_one() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(&text).is_err());
        assert!(read(&"[".repeat(10_000)).is_err());
    }
}
