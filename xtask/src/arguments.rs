//! The words after a task's name.

use std::str::FromStr;

use crate::Outcome;

/// Words not yet taken by the task; what is left at the end is an error.
pub(crate) struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self { words: words.collect() }
    }

    /// Takes `--name` when it is there.
    pub(crate) fn has_flag(&mut self, name: &str) -> bool {
        let place = self.words.iter().position(|word| word == name);
        place.map(|index| self.words.remove(index)).is_some()
    }

    /// Takes `--name VALUE` or `--name=VALUE`.
    ///
    /// # Errors
    /// When the value is missing or not of its type.
    pub(crate) fn option<T: FromStr>(&mut self, name: &str) -> Outcome<Option<T>> {
        let joined = format!("{name}=");
        let Some(index) = self.words.iter().position(|word| word == name || word.starts_with(&joined)) else {
            return Ok(None);
        };
        let word = self.words.remove(index);
        let value = match word.strip_prefix(&joined) {
            Some(value) => value.to_owned(),
            None if index < self.words.len() => self.words.remove(index),
            None => return Err(format!("{name} needs a value").into()),
        };
        value.parse().map(Some).map_err(|_| format!("{name} cannot be `{value}`").into())
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a word was not taken.
    pub(crate) fn finish(self) -> Outcome {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("nothing is known about `{word}` here").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_taken_joined_and_apart() {
        let mut words = arguments("--seed 7 --quick --seconds=9");
        assert_eq!(words.option::<u64>("--seed").unwrap(), Some(7));
        assert_eq!(words.option::<u64>("--seconds").unwrap(), Some(9));
        assert_eq!(words.option::<u64>("--seeds").unwrap(), None);
        assert!(words.has_flag("--quick"));
        assert!(!words.has_flag("--quick"));
        assert!(words.finish().is_ok());
    }

    #[test]
    fn a_missing_value_a_wrong_value_and_a_stray_word_are_errors() {
        assert!(arguments("--seed").option::<u64>("--seed").is_err());
        assert!(arguments("--seed x").option::<u64>("--seed").is_err());
        assert!(arguments("--qick").finish().is_err());
    }
}
