use crosspoint_protocol::TopicFilter;

use super::*;

fn render(template: &str, topic: &str, payload: &str) -> String {
    let template = Template::parse(template).unwrap();
    match template.render(topic, "plant", payload.as_bytes()) {
        Ok(name) => name.as_str().to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

fn widen(template: &str, source: &str) -> Option<String> {
    let filter = TopicFilter::parse(source.to_owned()).unwrap();
    let wide = Template::parse(template).unwrap().widen(&filter, "plant")?;
    Some(wide.as_str().to_owned())
}

#[test]
fn placeholders_take_what_they_name() {
    let payload = r#"{"site":"north","n":7,"on":true,"deep":{"list":["a","b"]}}"#;
    for (template, expected) in [
        ("{topic}", "a/b/c"),
        ("x/{topic}", "x/a/b/c"),
        ("{topic[0]}", "a"),
        ("{topic[2]}/{topic[1]}", "c/b"),
        ("out/{topic[1..]}", "out/b/c"),
        ("{topic[0..]}", "a/b/c"),
        ("{connector}/x", "plant/x"),
        ("{payload.site}/{payload.n}/{payload.on}", "north/7/true"),
        ("{payload.deep.list.1}", "b"),
        ("{{{topic[0]}}}", "{a}"),
        ("fixed", "fixed"),
    ] {
        assert_eq!(render(template, "a/b/c", payload), expected, "{template}");
    }
}

#[test]
fn what_a_message_lacks_is_an_error_that_names_it() {
    for (template, payload, expected) in [
        ("{topic[3]}", "", "error: the topic has no level 3, only 0 to 2"),
        ("{topic[3..]}", "", "error: the topic has no level 3, only 0 to 2"),
        (
            "{payload.site}",
            "21.5 C",
            "error: the payload is not JSON, and the template asks for its field `site`",
        ),
        ("{payload.site}", "{}", "error: the payload has no field `site`"),
        ("{payload.a.b}", r#"{"a":1}"#, "error: the payload has no field `a.b`"),
        (
            "{payload.a}",
            r#"{"a":null}"#,
            "error: the field `a` of the payload is neither text, number nor true or false",
        ),
        (
            "{payload.a}",
            r##"{"a":"#"}"##,
            "error: the template made no valid topic: a Topic Name holds no wildcard [MQTT-4.7.0-1]",
        ),
        (
            "{payload.a}",
            r#"{"a":""}"#,
            "error: the template made no valid topic: a topic has at least one character [MQTT-4.7.3-1]",
        ),
    ] {
        assert_eq!(render(template, "a/b/c", payload), expected, "{template} of {payload}");
    }
}

#[test]
fn faults_of_a_template_have_their_place() {
    for (template, what, at) in [
        ("", "a topic has at least one character", 0..0),
        ("a/{topic", "this brace is not closed", 2..8),
        ("a/}", "this brace was never opened", 2..3),
        ("a/{tpoic}", "`{tpoic}` is not a placeholder", 2..9),
        ("{topic[x]}", "`{topic[x]}` is not a placeholder", 0..10),
        ("{topic[+1]}", "`{topic[+1]}` is not a placeholder", 0..11),
        ("{topic[200]}", "`{topic[200]}` is not a placeholder", 0..12),
        ("{payload.}", "`{payload.}` is not a placeholder", 0..10),
        ("a/+/b", "a topic that is published to holds no wildcard", 2..3),
        ("a/#", "a topic that is published to holds no wildcard", 2..3),
    ] {
        let error = Template::parse(template).unwrap_err();
        assert_eq!((error.what.as_str(), error.at), (what, at), "{template}");
    }
}

#[test]
fn widening_keeps_what_the_source_fixes() {
    for (template, source, expected) in [
        ("{topic}", "a/+/#", Some("a/+/#")),
        ("x/{topic}", "a/b", Some("x/a/b")),
        ("x{topic}", "a/b", Some("xa/b")),
        ("x{topic}", "#", Some("+/#")),
        ("out/{topic[2..]}", "demo/in/#", Some("out/#")),
        ("out/{topic[1..]}", "demo/in/#", Some("out/in/#")),
        ("out/{topic[5..]}", "demo/in/#", Some("out/#")),
        ("{topic[1]}/x", "a/+/c", Some("+/x")),
        ("p{topic[1]}/x", "a/+/c", Some("+/x")),
        ("{topic[0]}/x", "a/+/c", Some("a/x")),
        ("{topic[7]}/x", "a/#", Some("+/x")),
        ("{topic[3]}", "a/+/c", None),
        ("{topic[3..]}", "a/+/c", None),
        ("{connector}/{payload.x}/y", "a", Some("plant/#")),
        ("a-{payload.x}", "a", Some("+/#")),
        ("{topic}", "$share/g/a/b", Some("a/b")),
        ("{topic}x", "a/b/#", Some("a/+/#")),
        ("{topic}x", "a/#", Some("+/#")),
        ("{topic}/x", "a/b/#", Some("a/b/#")),
    ] {
        assert_eq!(widen(template, source).as_deref(), expected, "{template} of {source}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_inside_its_bounds(text in "\\PC*|[{}a-z/\\[\\].0-9+#]*") {
        if let Err(error) = Template::parse(&text) {
            proptest::prop_assert!(error.at.end <= text.len());
        }
    }

    #[test]
    fn what_is_rendered_matches_what_was_widened(
        template in "([a-c/]|\\{topic\\}|\\{topic\\[[0-3]\\]\\}|\\{topic\\[[0-3]\\.\\.\\]\\}|\\{payload\\.x\\}){1,5}",
        levels in proptest::collection::vec(("[ab]{1,2}", proptest::bool::ANY), 1..5),
        open_at in 0_usize..6,
        field in "[ab/]{1,3}",
    ) {
        let topic: Vec<_> = levels.iter().map(|(level, _)| level.as_str()).collect();
        let filter = levels.iter().map(|(level, is_wild)| if *is_wild { "+" } else { level.as_str() });
        let mut filter: Vec<_> = filter.take(open_at).collect();
        if open_at <= levels.len() {
            filter.push("#");
        }
        let filter = TopicFilter::parse(filter.join("/")).unwrap();
        let topic = topic.join("/");
        proptest::prop_assert!(filter.matches(&topic));

        let template = Template::parse(&template).unwrap();
        let payload = format!("{{\"x\":\"{field}\"}}");
        if let Ok(name) = template.render(&topic, "c", payload.as_bytes()) {
            let wide = template.widen(&filter, "c").expect("a topic came out");
            proptest::prop_assert!(wide.matches(name.as_str()), "{wide} {name}");
        }
    }
}
