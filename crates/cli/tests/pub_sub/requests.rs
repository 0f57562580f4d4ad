//! `request`: a question, and who answers.

use crate::site::{Program, Running, Site};

/// Somebody who waits for one question and tells its response topic and correlation.
fn listener(site: &Site, version: &str) -> Running {
    site.subscribe(&["-V", version, "-t", "ask", "-q", "1", "-C", "1", "-F", "%R %D %p"])
}

#[test]
fn a_question_names_its_topic_and_takes_only_its_own_answer() {
    let site = Site::start();
    let listener = listener(&site, "5");
    let request = site
        .program(
            "request",
            &["-t", "ask", "-m", "how warm?", "-q", "1", "-D", "publish", "correlation-data", "c1", "-v"],
        )
        .start();
    let asked = listener.end().printed();
    let words: Vec<&str> = asked.trim_end().splitn(3, ' ').collect();
    let [topic, "c1", "how warm?"] = words[..] else { panic!("{asked:?}") };
    assert!(topic.starts_with("crosspoint/answer/"), "{topic}");
    let answer = |correlation: &str, payload: &str| {
        let words = ["-t", topic, "-m", payload, "-q", "1", "-D", "publish", "correlation-data", correlation];
        site.publish(&words).printed();
    };
    answer("another", "not for you");
    answer("c1", "21.5");
    assert_eq!(request.end().printed(), format!("{topic} 21.5\n"));
}

#[test]
fn before_mqtt_5_it_needs_a_topic_that_both_know() {
    let site = Site::start();
    for version in ["311", "31"] {
        let listener = listener(&site, version);
        let request =
            site.program("request", &["-V", version, "-t", "ask", "-e", "answers", "-m", "?", "-C", "2"]);
        let request = request.start();
        assert_eq!(listener.end().printed(), "  ?\n");
        site.publish(&["-t", "answers", "-m", "one"]).printed();
        site.publish(&["-t", "answers", "-m", "two"]).printed();
        assert_eq!(request.end().printed(), "one\ntwo\n");
        let without = site.program("request", &["-V", version, "-t", "ask", "-m", "?"]).start().end();
        without.failed(2, "cannot say where", "-e TOPIC");
    }
}

#[test]
fn what_is_retained_is_no_answer_and_without_one_it_ends_with_27() {
    let site = Site::start();
    site.publish(&["-t", "answers", "-r", "-q", "1", "-m", "old"]).printed();
    let waited = site
        .program("request", &["-t", "ask", "-e", "answers", "-m", "?", "-q", "1", "-W", "1"])
        .start()
        .end();
    assert!(waited.stderr.contains("warning: nobody is subscribed to ask now"), "{}", waited.stderr);
    waited.failed(27, "no answer came", "somebody answers");
}

#[test]
fn what_does_not_fit_is_a_usage_error_with_its_mend() {
    for (words, cause, next_step) in [
        (&["-m", "?"][..], "no topic", "-t TOPIC"),
        (&["-t", "a/#", "-m", "?"], "cannot be published to", "one topic"),
        (&["-t", "a", "-e", "b/+", "-m", "?"], "no topic for answers", "without + and #"),
        (&["-t", "a", "-l"], "many questions", "-m"),
    ] {
        Program::new(&[&["request"], words].concat()).start().end().failed(2, cause, next_step);
    }
}
