//! The format of `sub -F`: that of `mosquitto_sub`, as its manual documents it.
//!
//! `%` begins a parameter of the message, `@` one of the time, `\` a character that is hard to type. Widths count
//! bytes, as those of `printf` do.

use std::{iter::Peekable, str::CharIndices};

use crosspoint_client::{QoS, protocol::packet::PublishProperties};
use jiff::{Zoned, fmt::strtime};

use crate::json::{self, NotJson, PayloadForm};

/// The widest field: what is wider is a slip of the finger.
const WIDTH_MAX: usize = 10_000;

/// A message to be printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// The packet identifier; 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// How many seconds of its Message Expiry Interval are left.
    pub(crate) expiry_s: Option<u32>,
    pub(crate) subscription_id: Option<u32>,
    pub(crate) properties: &'a PublishProperties,
}

/// A format, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field, Layout),
    /// A conversion of `strftime`.
    Time(String),
    Nanoseconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    TopicAlias,
    ContentType,
    CorrelationData,
    Expiry,
    PayloadFormat,
    DateTime,
    Json(PayloadForm),
    Length,
    PacketId,
    UserProperties,
    Payload,
    Qos,
    ResponseTopic,
    Retain,
    SubscriptionId,
    Topic,
    UnixTime,
    LowerHex,
    UpperHex,
}

/// How a field is fitted into its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Layout {
    width_min: usize,
    width_max: Option<usize>,
    is_left: bool,
    is_zero_padded: bool,
}

impl Format {
    /// Parses a format.
    ///
    /// # Errors
    /// The first sequence that means nothing, as a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.char_indices().peekable();
        while let Some((_, char)) = chars.next() {
            match char {
                '%' => pieces.push(parameter(&mut chars)?),
                '@' => pieces.push(time(&mut chars)?),
                '\\' => push(&mut pieces, escape(&mut chars)?),
                other => push(&mut pieces, other),
            }
        }
        Ok(Self(pieces))
    }

    /// Appends a message that came at a time.
    ///
    /// # Errors
    /// `%J` was asked for and the payload is not JSON; that field is left out then.
    pub(crate) fn render(
        &self,
        message: &Received<'_>,
        at: &Zoned,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut result = Ok(());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(Field::Json(form), _) => {
                    result = result.and(json::write(message, at, *form, out));
                }
                Piece::Field(field, layout) => field.render(layout, message, at, out),
                Piece::Time(conversion) => out.extend_from_slice(clock(conversion, at).as_bytes()),
                Piece::Nanoseconds => {
                    out.extend_from_slice(format!("{:09}", at.subsec_nanosecond()).as_bytes())
                }
            }
        }
        result
    }
}

type Chars<'a> = Peekable<CharIndices<'a>>;

fn push(pieces: &mut Vec<Piece>, char: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(char),
        _ => pieces.push(Piece::Text(char.to_string())),
    }
}

fn parameter(chars: &mut Chars<'_>) -> Result<Piece, String> {
    let layout = layout(chars)?;
    let (at, char) = chars
        .next()
        .ok_or("% at the end begins a sequence that is not there: write %% for a percent sign")?;
    let field = match char {
        '%' => return Ok(Piece::Text("%".to_owned())),
        'A' => Field::TopicAlias,
        'C' => Field::ContentType,
        'D' => Field::CorrelationData,
        'E' => Field::Expiry,
        'F' => Field::PayloadFormat,
        'I' => Field::DateTime,
        'j' => Field::Json(PayloadForm::Text),
        'J' => Field::Json(PayloadForm::Json),
        'l' => Field::Length,
        'm' => Field::PacketId,
        'P' => Field::UserProperties,
        'p' => Field::Payload,
        'q' => Field::Qos,
        'R' => Field::ResponseTopic,
        'r' => Field::Retain,
        'S' => Field::SubscriptionId,
        't' => Field::Topic,
        'U' => Field::UnixTime,
        'x' => Field::LowerHex,
        'X' => Field::UpperHex,
        other => {
            return Err(format!(
                "%{other} (byte {at}) means nothing: there are %A %C %D %E %F %I %j %J %l %m %P %p %q %R %r %S %t %U %x %X and %%"
            ));
        }
    };
    Ok(Piece::Field(field, layout))
}

fn layout(chars: &mut Chars<'_>) -> Result<Layout, String> {
    let mut layout = Layout::default();
    while let Some((_, flag)) = chars.next_if(|(_, char)| matches!(char, '-' | '0')) {
        match flag {
            '-' => layout.is_left = true,
            _ => layout.is_zero_padded = true,
        }
    }
    layout.width_min = width(chars)?.unwrap_or(0);
    if chars.next_if(|(_, char)| *char == '.').is_some() {
        layout.width_max = Some(width(chars)?.unwrap_or(0));
    }
    Ok(layout)
}

fn width(chars: &mut Chars<'_>) -> Result<Option<usize>, String> {
    let mut width = None;
    while let Some((at, digit)) = chars.next_if(|(_, char)| char.is_ascii_digit()) {
        let value = width.unwrap_or(0) * 10 + digit.to_digit(10).unwrap_or(0) as usize;
        if value > WIDTH_MAX {
            return Err(format!("the width at byte {at} is more than {WIDTH_MAX}"));
        }
        width = Some(value);
    }
    Ok(width)
}

fn time(chars: &mut Chars<'_>) -> Result<Piece, String> {
    let (at, char) =
        chars.next().ok_or("@ at the end begins a sequence that is not there: write @@ for an at sign")?;
    match char {
        '@' => Ok(Piece::Text("@".to_owned())),
        'N' => Ok(Piece::Nanoseconds),
        other => {
            let conversion = match other {
                // What the C locale makes of them, which mosquitto_sub never leaves.
                'c' => "%a %b %e %H:%M:%S %Y".to_owned(),
                'r' => "%I:%M:%S %p".to_owned(),
                'x' => "%m/%d/%y".to_owned(),
                'X' => "%H:%M:%S".to_owned(),
                other => format!("%{other}"),
            };
            match strtime::format(&conversion, &Zoned::now()) {
                Ok(_) => Ok(Piece::Time(conversion)),
                Err(_) => Err(format!("@{other} (byte {at}) is not a conversion of strftime")),
            }
        }
    }
}

fn escape(chars: &mut Chars<'_>) -> Result<char, String> {
    let (at, char) = chars
        .next()
        .ok_or("\\ at the end begins a sequence that is not there: write \\\\ for a backslash")?;
    Ok(match char {
        '\\' => '\\',
        '0' => '\0',
        'a' => '\x07',
        'e' => '\x1b',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        other => {
            return Err(format!(
                "\\{other} (byte {at}) means nothing: there are \\\\ \\0 \\a \\e \\n \\r \\t \\v"
            ));
        }
    })
}

impl Field {
    fn render(self, layout: &Layout, message: &Received<'_>, at: &Zoned, out: &mut Vec<u8>) {
        let properties = message.properties;
        match self {
            Self::TopicAlias => layout.number(properties.topic_alias(), out),
            Self::ContentType => layout.text(properties.content_type().unwrap_or_default(), out),
            Self::CorrelationData => out.extend_from_slice(properties.correlation_data().unwrap_or_default()),
            Self::Expiry => layout.number(message.expiry_s, out),
            Self::PayloadFormat => layout.number(properties.payload_is_utf8().map(u8::from), out),
            Self::DateTime => layout.text(&clock("%FT%T%z", at), out),
            // Rendered by `Format::render`, since it can fail.
            Self::Json(_) => {}
            Self::Length => layout.number(Some(message.payload.len()), out),
            Self::PacketId => layout.number(Some(message.packet_id), out),
            Self::UserProperties => user_properties(properties, out),
            Self::Payload => layout.put(message.payload, Padding::Blank, out),
            Self::Qos => out.push(b'0' + message.qos.bits()),
            Self::ResponseTopic => layout.text(properties.response_topic().unwrap_or_default(), out),
            Self::Retain => out.push(if message.retain { b'1' } else { b'0' }),
            Self::SubscriptionId => layout.number(message.subscription_id, out),
            Self::Topic => layout.text(message.topic, out),
            Self::UnixTime => {
                let since = at.timestamp();
                out.extend_from_slice(
                    format!("{}.{:09}", since.as_second(), since.subsec_nanosecond()).as_bytes(),
                );
            }
            Self::LowerHex => layout.put(&hex(message.payload, b"0123456789abcdef"), Padding::AsFlagged, out),
            Self::UpperHex => layout.put(&hex(message.payload, b"0123456789ABCDEF"), Padding::AsFlagged, out),
        }
    }
}

enum Padding {
    Blank,
    AsFlagged,
}

impl Layout {
    fn number(&self, value: Option<impl ToString>, out: &mut Vec<u8>) {
        match value {
            Some(value) => self.put(value.to_string().as_bytes(), Padding::AsFlagged, out),
            None => self.put(&[], Padding::Blank, out),
        }
    }

    fn text(&self, value: &str, out: &mut Vec<u8>) {
        let bytes = value.as_bytes();
        let shown = bytes.get(..self.width_max.unwrap_or(bytes.len())).unwrap_or(bytes);
        self.put(shown, Padding::Blank, out);
    }

    fn put(&self, value: &[u8], padding: Padding, out: &mut Vec<u8>) {
        let missing = self.width_min.saturating_sub(value.len());
        if self.is_left {
            out.extend_from_slice(value);
            out.resize(out.len() + missing, b' ');
        } else {
            let is_zero = self.is_zero_padded && matches!(padding, Padding::AsFlagged);
            out.resize(out.len() + missing, if is_zero { b'0' } else { b' ' });
            out.extend_from_slice(value);
        }
    }
}

fn user_properties(properties: &PublishProperties, out: &mut Vec<u8>) {
    for (index, (name, value)) in properties.user_properties().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(format!("{name}:{value}").as_bytes());
    }
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or(b'?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0F)]).collect()
}

/// Formats the time with conversions that were tried when the format was parsed, or are fixed.
pub(crate) fn clock(conversion: &str, at: &Zoned) -> String {
    strtime::format(conversion, at).unwrap_or_default()
}

#[cfg(test)]
mod tests;
