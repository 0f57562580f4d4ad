//! No text makes the check panic, and what it says always has a place inside the text.

use crosspoint_hub::config::{Colour, parse};
use proptest::prelude::*;

fn check(text: &str) -> Result<(), TestCaseError> {
    let environments = [None, Some("e")];
    for environment in environments {
        let findings = match parse(text, "crosspoint.toml", environment) {
            Ok((_, warnings)) => warnings,
            Err(findings) => findings,
        };
        for finding in findings {
            prop_assert!(finding.span.as_ref().is_none_or(|span| span.end <= text.len()));
            prop_assert!(finding.source.text.len() == text.len());
            prop_assert!(!finding.render(Colour::Never).is_empty());
            prop_assert!(!finding.render(Colour::Always).is_empty());
        }
    }
    Ok(())
}

/// Lines that are near to a project file, in any order and number.
fn line() -> impl Strategy<Value = String> {
    let header = "\\[(environment\\.e\\.)?(connector|flow|broker|broker\\.(listener|user|role)|console|environment)(\\.[a-c\"ü]{1,2})?\\]";
    let key = "(url|host|port|password|keep_alive_s|tls|tls\\.ca|will|will\\.topic|from|to|unset|bind|transport|roles|allow|enabled|where|websocket\\.headers|[a-z]{1,4})";
    let value = "(-?[0-9]{1,20}|true|\"[a-z+#/{}\\[\\]:.ü%$ ]{0,16}\"|'(env|file|sealed|mqtts?|ws):/{0,2}[a-z@:]{0,6}'|\\[\\]|\\[\"[a-c/#+]{0,4}\"\\]|\\{ (connector|topic|topics|payload) = \"[a-c/#+{}]{0,8}\" \\}|1\\.5|1979-05-27)";
    prop_oneof![header, (key, value).prop_map(|(key, value)| format!("{key} = {value}")), "\\PC{0,12}",]
}

proptest! {
    #[test]
    fn any_text(text in "\\PC*") {
        check(&text)?;
    }

    #[test]
    fn any_lines_like_those_of_a_project(lines in proptest::collection::vec(line(), 0..12)) {
        check(&lines.join("\n"))?;
    }

    #[test]
    fn any_cut_and_any_change_of_a_good_file(at in 0_usize..3000, length in 0_usize..40, new in "\\PC{0,6}") {
        let mut text = crosspoint_hub::config::SAMPLE.replace("# [", "[");
        let start = text.floor_char_boundary(at);
        let end = text.floor_char_boundary((start + length).max(start));
        text.replace_range(start..end, &new);
        check(&text)?;
    }
}
