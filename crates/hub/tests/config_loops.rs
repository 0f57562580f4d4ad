//! Cycles of overlapping topics: which are refused, how they are named, what allows them.

use crosspoint_hub::config::parse;

/// A flow as `name: source filter -> sink template`, with a connector before each colon.
fn flow(name: &str, from: (&str, &str), to: (&str, &str), more: &str) -> String {
    format!(
        "[flow.{name}]\nfrom = {{ connector = \"{}\", topics = \"{}\" }}\nto = {{ connector = \"{}\", topic = \"{}\" }}\n{more}\n",
        from.0, from.1, to.0, to.1
    )
}

/// Returns the cycles that are refused, as paths.
fn cycles(flows: &[String]) -> Vec<String> {
    let connectors = "[connector.a]\nurl = \"mqtt://a\"\n[connector.b]\nurl = \"mqtt://b\"\n[connector.twin]\nurl = \"mqtt://A:1883\"\n";
    cycles_of(&format!("{connectors}{}", flows.concat()))
}

fn cycles_of(text: &str) -> Vec<String> {
    let Err(findings) = parse(text, "crosspoint.toml", None) else { return Vec::new() };
    let path = |message: &str| message.split_once("for ever: ").map(|(_, path)| path.to_owned());
    findings.iter().map(|finding| path(&finding.message).unwrap_or_else(|| panic!("{finding}"))).collect()
}

#[test]
fn a_flow_that_reads_what_it_writes() {
    let own = |filter, template| cycles(&[flow("f", ("a", filter), ("a", template), "")]);
    assert_eq!(own("#", "{topic}"), ["f -> f"]);
    assert_eq!(own("x/#", "x/y/{topic}"), ["f -> f"]);
    assert_eq!(own("x/+", "x/{topic[1]}"), ["f -> f"]);
    assert_eq!(own("x/#", "{payload.site}"), ["f -> f"]);
    assert_eq!(own("$share/g/x/#", "{topic}"), ["f -> f"]);
    assert!(own("x/#", "y/{topic}").is_empty());
    assert!(own("x/+", "x/y/{topic[1]}").is_empty());
    assert!(own("demo/in/#", "demo/out/{topic[2..]}").is_empty());
}

#[test]
fn a_cycle_over_several_flows_is_named_as_a_path_with_its_topics() {
    let flows = [
        flow("up", ("a", "site/#"), ("b", "cloud/{topic[1..]}"), ""),
        flow("mid", ("b", "cloud/+/x"), ("broker", "mid/{topic[1]}"), ""),
        flow("down", ("broker", "mid/#"), ("a", "site/{topic[1]}"), ""),
        flow("aside", ("b", "cloud/#"), ("broker", "aside/{topic}"), ""),
    ];
    assert_eq!(cycles(&flows), ["up -> mid -> down -> up"]);
    let text =
        format!("[connector.a]\nurl = \"mqtt://a\"\n[connector.b]\nurl = \"mqtt://b\"\n{}", flows.concat());
    let finding = parse(&text, "crosspoint.toml", None).unwrap_err().remove(0);
    assert_eq!(finding.label, "what is written here comes back");
    let help = finding.help.unwrap();
    let expected = [
        "flow \"up\" writes `cloud/#` to \"b\", flow \"mid\" reads `cloud/+/x` from \"b\"",
        "flow \"mid\" writes `mid/+` to \"broker\", flow \"down\" reads `mid/#` from \"broker\"",
        "flow \"down\" writes `site/+` to \"a\", flow \"up\" reads `site/#` from \"a\"",
    ];
    assert_eq!(help.lines().take(3).collect::<Vec<_>>(), expected);
    assert!(help.ends_with("or write allow_loop = true in one of the flows"), "{help}");
}

#[test]
fn two_separate_cycles_are_both_found() {
    let flows = [
        flow("p", ("a", "p/#"), ("a", "{topic}"), ""),
        flow("q", ("b", "q/#"), ("b", "{topic}"), ""),
        flow("r", ("a", "r/#"), ("b", "{topic}"), ""),
    ];
    assert_eq!(cycles(&flows), ["p -> p", "q -> q"]);
}

#[test]
fn both_directions_between_two_brokers_with_distinct_topics_are_no_cycle() {
    let flows = [
        flow("up", ("a", "sensors/#"), ("b", "{topic}"), ""),
        flow("down", ("b", "commands/#"), ("a", "{topic}"), ""),
    ];
    assert!(cycles(&flows).is_empty());
    let flows =
        [flow("up", ("a", "#"), ("b", "{topic}"), ""), flow("down", ("b", "#"), ("a", "{topic}"), "")];
    assert_eq!(cycles(&flows), ["up -> down -> up"]);
}

#[test]
fn a_loop_that_is_allowed_is_not_refused() {
    assert!(cycles(&[flow("f", ("a", "#"), ("a", "{topic}"), "allow_loop = true")]).is_empty());
    let flows = [
        flow("up", ("a", "#"), ("b", "{topic}"), ""),
        flow("down", ("b", "#"), ("a", "{topic}"), "allow_loop = true"),
    ];
    assert!(cycles(&flows).is_empty());
}

#[test]
fn two_connectors_to_one_broker_are_one_place() {
    assert_eq!(cycles(&[flow("f", ("a", "#"), ("twin", "{topic}"), "")]), ["f -> f"]);
    let embedded = |bind: &str| {
        let text = flow("f", ("broker", "#"), ("me", "{topic}"), "");
        cycles_of(&format!(
            "[broker.listener.main]\n{bind}\n[connector.me]\nurl = \"mqtt://localhost:1883\"\n{text}"
        ))
    };
    assert_eq!(embedded("bind = \"127.0.0.1:1883\""), ["f -> f"]);
    assert!(embedded("bind = \"127.0.0.1:1884\"").is_empty());
}

#[test]
fn the_second_sink_of_a_flow_counts_too() {
    let text = "[flow.f]\nfrom = { connector = \"broker\", topics = [\"x\", \"y/#\"] }\nto = [{ connector = \"broker\", topic = \"z\" }, { connector = \"broker\", topic = \"y/z\" }]\n";
    assert_eq!(cycles_of(text), ["f -> f"]);
}
