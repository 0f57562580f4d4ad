//! Words for error messages: what was meant, lists, large numbers.

/// How alike two words are when one may be meant by the other, from 0 to 1.
const ALIKE_MIN: f64 = 0.78;

/// Returns the candidate that was probably meant.
pub(super) fn closest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let scored =
        candidates.into_iter().map(|candidate| (likeness(&typed, &candidate.to_lowercase()), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= ALIKE_MIN).map(|(_, candidate)| candidate)
}

fn likeness(typed: &str, candidate: &str) -> f64 {
    // `user` for `username`, `keepalive` for `keep_alive_s`: a beginning counts when underscores are left out.
    let (short, long) = (typed.replace(['_', '-'], ""), candidate.replace(['_', '-'], ""));
    if short.len() >= 4 && long.starts_with(&short) {
        return 0.95;
    }
    strsim::jaro_winkler(typed, candidate)
}

/// Returns words as `"a", "b" or "c"`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Returns a number with a comma between thousands.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_nothing_far_off() {
        let keys = ["username", "password", "keep_alive_s", "url", "host", "session"];
        for (typed, meant) in [
            ("usrname", Some("username")),
            ("user", Some("username")),
            ("pasword", Some("password")),
            ("keepalive", Some("keep_alive_s")),
            ("URL", Some("url")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(closest(typed, keys), meant, "{typed}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(-1234), "-1,234");
        assert_eq!(grouped(4_294_967_295), "4,294,967,295");
        assert_eq!(grouped(i64::MIN), "-9,223,372,036,854,775,808");
    }
}
