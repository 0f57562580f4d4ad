use crosspoint_client::PublishPropertyValues;
use jiff::{civil::date, tz::TimeZone};

use super::*;

const PAYLOAD: &[u8] = b"h\xC3\xA9\"l\\o\tx";

fn at() -> Zoned {
    let offset = jiff::tz::Offset::from_hours(1).unwrap();
    date(2020, 5, 6).at(22, 12, 3, 4_005_006).to_zoned(TimeZone::fixed(offset)).unwrap()
}

fn some_properties() -> PublishProperties {
    PublishProperties::from_values(&PublishPropertyValues {
        payload_is_utf8: Some(true),
        response_topic: Some("re/t".into()),
        correlation_data: Some((&b"c0"[..]).into()),
        content_type: Some("text/plain".into()),
        user_properties: vec![("k".into(), "v".into()), ("k2".into(), "v2".into())],
        ..PublishPropertyValues::default()
    })
    .unwrap()
}

fn render_message(format: &str, message: &Received<'_>) -> String {
    let mut out = Vec::new();
    assert_eq!(Format::parse(format).unwrap().render(message, &at(), &mut out), Ok(()));
    String::from_utf8(out).unwrap()
}

fn plain(properties: &PublishProperties) -> Received<'_> {
    Received {
        topic: "a/b",
        payload: PAYLOAD,
        qos: QoS::AtLeastOnce,
        retain: true,
        packet_id: 7,
        expiry_s: None,
        subscription_id: None,
        properties,
    }
}

#[test]
fn sequences_give_what_the_manual_of_mosquitto_sub_says() {
    let none = PublishProperties::default();
    let cases = [
        ("%t|%p|%l|%q|%r|%m", "a/b|hé\"l\\o\tx|9|1|1|7"),
        ("%10t|%-10t|%.2t|%5.2t|%010t", "       a/b|a/b       |a/|   a/|       a/b"),
        ("%12p|%-12p|", "   hé\"l\\o\tx|hé\"l\\o\tx   |"),
        ("%x|%X", "68c3a9226c5c6f0978|68C3A9226C5C6F0978"),
        ("%20x|%-20X|%020x", "  68c3a9226c5c6f0978|68C3A9226C5C6F0978  |0068c3a9226c5c6f0978"),
        ("%5l|%05l|%-5l|%-05l|%0-5l|%3m", "    9|00009|9    |9    |9    |  7"),
        ("%I", "2020-05-06T22:12:03+0100"),
        ("%30I|%-26I|%.10I", "      2020-05-06T22:12:03+0100|2020-05-06T22:12:03+0100  |2020-05-06"),
        ("%U", "1588799523.004005006"),
        ("@Y-@m-@d @H:@M:@S|@N|@@|@s", "2020-05-06 22:12:03|004005006|@|1588799523"),
        ("@c|@x|@X|@r|@a @e @b", "Wed May  6 22:12:03 2020|05/06/20|22:12:03|10:12:03 PM|Wed  6 May"),
        (r"a\tb\n\e[0m\0\a\r\v\\", "a\tb\n\x1b[0m\0\x07\r\x0b\\"),
        ("100%% é", "100% é"),
        ("%C|%R|%E|%F|%S|%A|%P|%D", "|||||||"),
        ("%12C|%5R|%6E|%3F|%4S|%3A|", "            |     |      |   |    |   |"),
        ("", ""),
    ];
    for (format, expected) in cases {
        assert_eq!(render_message(format, &plain(&none)), expected, "{format}");
    }
}

#[test]
fn properties_give_what_the_manual_of_mosquitto_sub_says() {
    let properties = some_properties();
    let message = Received { expiry_s: Some(99), subscription_id: Some(5), ..plain(&properties) };
    let cases = [
        ("%C|%R|%E|%F|%S|%A|%P|%D", "text/plain|re/t|99|1|5||k:v k2:v2|c0"),
        ("%12C|%-5R|%06E|%3F|%.4C|", "  text/plain|re/t |000099|  1|text|"),
    ];
    for (format, expected) in cases {
        assert_eq!(render_message(format, &message), expected, "{format}");
    }
}

#[test]
fn json_has_the_members_of_mosquitto_sub() {
    let none = PublishProperties::default();
    let head = r#"{"tst":"2020-05-06T22:12:03.004005+0100","topic":"a/b","qos":"#;
    assert_eq!(
        render_message("%j", &plain(&none)),
        format!(r#"{head}1,"retain":1,"payloadlen":9,"mid":7,"payload":"hé\"l\\o\tx"}}"#)
    );
    let json = Received {
        payload: br#"{"t": 27.0, "b": [1, 2]}"#,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: 0,
        ..plain(&none)
    };
    assert_eq!(
        render_message("%J", &json),
        format!(r#"{head}0,"retain":0,"payloadlen":24,"payload":{{"t":27.0,"b":[1,2]}}}}"#)
    );
    let empty = Received { payload: b"", ..json };
    assert!(render_message("%J", &empty).ends_with(r#""payloadlen":0,"payload":null}"#));
}

#[test]
fn json_has_the_properties() {
    let properties = some_properties();
    let message = Received { expiry_s: Some(99), payload: b"v", ..plain(&properties) };
    let rendered = render_message("%j", &message);
    for expected in [
        r#","properties":{"message-expiry-interval":99,"#,
        r#""payload-format-indicator":1"#,
        r#""response-topic":"re/t""#,
        r#""correlation-data":"c0""#,
        r#""content-type":"text/plain""#,
        r#""user-properties":{"k":"v","k2":"v2"}},"payload":"v"}"#,
    ] {
        assert!(rendered.contains(expected), "{expected} is not in {rendered}");
    }
}

#[test]
fn a_payload_that_is_not_json_is_left_out_and_told() {
    let none = PublishProperties::default();
    let mut out = Vec::new();
    let result = Format::parse("<%J>").unwrap().render(&plain(&none), &at(), &mut out);
    assert_eq!((result, out.as_slice()), (Err(NotJson), &b"<>"[..]));
}

#[test]
fn binary_payloads_stay_as_they_are() {
    let none = PublishProperties::default();
    let message = Received { payload: b"\x00\xff\n", ..plain(&none) };
    let mut out = Vec::new();
    Format::parse("[%p]").unwrap().render(&message, &at(), &mut out).unwrap();
    assert_eq!(out, b"[\x00\xff\n]");
}

#[test]
fn what_means_nothing_is_named() {
    let cases = [
        ("%z", "%z (byte 1)"),
        ("ab%", "%%"),
        ("%5", "%%"),
        ("@", "@@"),
        (r"\q", r"\q (byte 1)"),
        ("\\", r"\\"),
        ("%99999t", "10000"),
        ("%.99999t", "10000"),
    ];
    for (format, expected) in cases {
        let error = Format::parse(format).unwrap_err();
        assert!(error.contains(expected), "{format}: {error}");
    }
}
