//! A source file, taken apart as far as the rules need: code, comments, and which lines are tests.

use std::ops::Range;

/// One Rust file.
pub(crate) struct Source {
    /// Its path from the root of the checkout, with `/` between folders.
    pub(crate) path: String,
    /// The text as it stands.
    pub(crate) text: String,
    /// The text with comments and the contents of strings blanked out; lines and columns are those of `text`.
    pub(crate) code: String,
    /// The lines, counted from 0, of modules under `#[cfg(test)]`.
    test_lines: Vec<Range<usize>>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank_text(text);
        let test_lines = test_modules(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, test_lines }
    }

    /// Returns whether a line, counted from 0, is only there for tests.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// Returns the lines of code with their numbers, counted from 0.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate()
    }

    /// Returns whether the whole file is only there for tests.
    fn is_test_file(&self) -> bool {
        let mut folders = self.path.split('/');
        let first = folders.next().unwrap_or_default();
        matches!(first, "conformance" | "interop")
            || folders.any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
            || self.path.starts_with("crates/protocol/src/fuzz")
    }
}

/// Returns the identifiers of a line of code with the column of each.
pub(crate) fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !is_identifier(letter)).filter(|word| !word.is_empty())
}

/// Returns the words that an identifier is made of, in lower case: `on_PubAck` is `on`, `pub`, `ack`.
pub(crate) fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_upper = true;
    for letter in identifier.chars() {
        if letter == '_' || (letter.is_uppercase() && !was_upper) {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), letter != '_') {
            word.extend(letter.to_lowercase());
        }
        was_upper = letter.is_uppercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

pub(crate) fn is_identifier(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// What the lexer is inside of.
enum Place {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// Replaces comments and the contents of strings and character literals by spaces, byte for character.
fn blank_text(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut place = Place::Code;
    let mut index = 0;
    while index < letters.len() {
        let (kept, length, next) = match place {
            Place::Code => step_in_code(&at, index),
            Place::LineComment => match at(index) {
                '\n' => (false, 1, Place::Code),
                _ => (false, 1, Place::LineComment),
            },
            Place::BlockComment { depth } => match (at(index), at(index + 1)) {
                ('/', '*') => (false, 2, Place::BlockComment { depth: depth + 1 }),
                ('*', '/') if depth == 1 => (false, 2, Place::Code),
                ('*', '/') => (false, 2, Place::BlockComment { depth: depth - 1 }),
                _ => (false, 1, Place::BlockComment { depth }),
            },
            Place::Text => match at(index) {
                '\\' => (false, 2, Place::Text),
                '"' => (false, 1, Place::Code),
                _ => (false, 1, Place::Text),
            },
            Place::RawText { hashes } => {
                let ends = at(index) == '"' && (1..=hashes).all(|ahead| at(index + ahead) == '#');
                if ends { (false, 1 + hashes, Place::Code) } else { (false, 1, Place::RawText { hashes }) }
            }
        };
        for letter in letters.iter().skip(index).take(length) {
            code.push(if kept || *letter == '\n' { *letter } else { ' ' });
        }
        index += length;
        place = next;
    }
    code
}

/// Reads one token's beginning: whether it is code, how many letters it takes, and what follows.
fn step_in_code(at: &impl Fn(usize) -> char, index: usize) -> (bool, usize, Place) {
    let starts_word = index == 0 || !is_identifier(at(index - 1));
    match (at(index), at(index + 1)) {
        ('/', '/') => (false, 2, Place::LineComment),
        ('/', '*') => (false, 2, Place::BlockComment { depth: 1 }),
        ('"', _) => (false, 1, Place::Text),
        ('b' | 'c', '"') if starts_word => (false, 2, Place::Text),
        ('r', '"' | '#') if starts_word => raw_text(at, index, 1),
        ('b' | 'c', 'r') if starts_word => raw_text(at, index, 2),
        ('\'', '\\') => (false, escaped_character(at, index), Place::Code),
        ('\'', _) if at(index + 2) == '\'' => (false, 3, Place::Code),
        _ => (true, 1, Place::Code),
    }
}

/// Reads the opening of a raw string, or else (`r#match`, `bright`) one letter of code.
fn raw_text(at: &impl Fn(usize) -> char, index: usize, prefix: usize) -> (bool, usize, Place) {
    let mut hashes = 0;
    while at(index + prefix + hashes) == '#' {
        hashes += 1;
    }
    if at(index + prefix + hashes) == '"' {
        return (false, prefix + hashes + 1, Place::RawText { hashes });
    }
    (true, 1, Place::Code)
}

/// Returns the length of a character literal with an escape, quotes included.
fn escaped_character(at: &impl Fn(usize) -> char, index: usize) -> usize {
    const LENGTH_MAX: usize = 12;
    (3..LENGTH_MAX).find(|ahead| at(index + ahead) == '\'').map_or(1, |ahead| ahead + 1)
}

/// Finds the modules and functions behind `#[cfg(test)]`, as ranges of lines.
fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("#[cfg(") {
        let rest = code.get(start..).unwrap_or_default();
        let Some(end_of_attribute) = rest.find(']') else { continue };
        let attribute = rest.get(..end_of_attribute).unwrap_or_default();
        if !identifiers(attribute).any(|word| word == "test")
            || identifiers(attribute).any(|word| word == "not")
        {
            continue;
        }
        let first = line_of(code, start);
        let last = line_of(code, start + end_of_item(rest));
        found.push(first..last + 1);
    }
    found
}

/// Returns where the item that a text starts with ends: at its `;`, or at the brace that closes its first.
fn end_of_item(text: &str) -> usize {
    let mut depth = 0_usize;
    for (index, letter) in text.char_indices() {
        match letter {
            ';' if depth == 0 => return index,
            '{' => depth += 1,
            '}' if depth <= 1 => return index,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

fn line_of(text: &str, index: usize) -> usize {
    text.bytes().take(index).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i r#\"j \" k\"# l b\"m\" 'n' '\\'' o<'p>";
        let kept: Vec<String> = identifiers(&blank_text(text)).map(str::to_owned).collect();
        assert_eq!(kept, ["a", "e", "i", "l", "o", "p"]);
    }

    #[test]
    fn blanking_keeps_every_line() {
        let text = "let a = \"x\ny\";\n/* 1\n2 */ fn b() {}\n";
        let code = blank_text(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert_eq!(code.lines().nth(3), Some("     fn b() {}"));
    }

    #[test]
    fn raw_identifiers_and_words_with_r_stay_code() {
        assert_eq!(blank_text("r#match br bar"), "r#match br bar");
    }

    #[test]
    fn lines_of_a_test_module_are_known() {
        let source = Source::new(
            "crates/a/src/lib.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\nfn c() {}\n#[cfg(not(test))]\nfn d() {}\n",
        );
        let tests: Vec<usize> = (0..8).filter(|line| source.is_test_line(*line)).collect();
        assert_eq!(tests, [1, 2, 3, 4]);
        assert!(Source::new("crates/a/src/b/tests.rs", "fn a() {}").is_test_line(0));
        assert!(Source::new("conformance/src/lib.rs", "fn a() {}").is_test_line(0));
    }

    #[test]
    fn an_identifier_falls_into_its_words() {
        assert_eq!(words("on_PubAck"), ["on", "pub", "ack"]);
        assert_eq!(words("MQTT_PORT"), ["mqtt", "port"]);
        assert_eq!(words("subscriber"), ["subscriber"]);
    }
}
