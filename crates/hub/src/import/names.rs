//! Names of the project, made of those of the other system.

/// How long a name may be; the check of the project says the same.
const NAME_CHARACTERS_MAX: usize = 64;

/// Returns a name of letters, digits, `-` and `_` that is like `wished` and none of `taken`.
pub(super) fn usable(wished: &str, fallback: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = String::new();
    for letter in wished.trim().chars() {
        let letter = if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
        if letter != '-' || !name.ends_with('-') {
            name.push(letter);
        }
    }
    let name = name.trim_matches('-');
    let name: String =
        if name.is_empty() { fallback } else { name }.chars().take(NAME_CHARACTERS_MAX - 4).collect();
    let mut candidates =
        std::iter::once(name.clone()).chain((2_u32..).map(|number| format!("{name}-{number}")));
    candidates.find(|candidate| !taken(candidate)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn names_are_usable_and_unique() {
        let free = |wished: &str| usable(wished, "mqtt", |name| name == "taken" || name == "taken-2");
        assert_eq!(free("Plant 1 (north)"), "Plant-1-north");
        assert_eq!(free("  "), "mqtt");
        assert_eq!(free("Überwachung/äöü"), "berwachung");
        assert_eq!(free("taken"), "taken-3");
        assert_eq!(free(&"x".repeat(100)).len(), 60);
    }
}
