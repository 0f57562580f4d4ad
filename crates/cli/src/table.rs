//! Tables on stdout, for people or as JSON.
//!
//! A row is an object of JSON whose members are the columns: what `--json` shows is what the table shows, and more
//! where a column is for programs only.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// A row, by the keys of its columns.
pub(crate) type Row = Map<String, Value>;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    key: &'static str,
    title: &'static str,
    side: Side,
    show: fn(&Value) -> String,
}

/// On which side the blanks of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Right,
    Left,
    /// The column is for programs only.
    Hidden,
}

impl Column {
    /// Returns a column of words.
    pub(crate) const fn text(key: &'static str, title: &'static str) -> Self {
        Self { key, title, side: Side::Right, show: plain }
    }

    /// Returns a column of counts.
    pub(crate) const fn number(key: &'static str, title: &'static str) -> Self {
        Self { key, title, side: Side::Left, show: plain }
    }

    /// Returns a column that only `--json` has.
    pub(crate) const fn hidden(key: &'static str) -> Self {
        Self { key, title: "", side: Side::Hidden, show: plain }
    }

    /// Shows the values of a column to people in another form.
    pub(crate) const fn shown(self, show: fn(&Value) -> String) -> Self {
        Self { show, ..self }
    }
}

/// In which form a table is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Table,
    Json,
}

impl Form {
    /// Returns what the flag `--json` asks for.
    pub(crate) const fn of_flag(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Table }
    }
}

/// Prints rows: as a table, or as an array of JSON with a row a line.
///
/// # Errors
/// Stdout takes no more.
pub(crate) fn print(form: Form, columns: &[Column], rows: &[Row]) -> Result<(), Failure> {
    let text = match form {
        Form::Table => table(columns, rows),
        Form::Json => array(columns, rows),
    };
    write(&text)
}

/// Prints one row as a list of its columns, or as an object of JSON.
///
/// # Errors
/// Stdout takes no more.
pub(crate) fn print_one(form: Form, columns: &[Column], row: &Row) -> Result<(), Failure> {
    let text = match form {
        Form::Table => list(columns, row),
        Form::Json => object(columns, row) + "\n",
    };
    write(&text)
}

/// Writes to stdout. Whoever reads it may leave when he has seen enough.
///
/// # Errors
/// Stdout takes no more.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("stdout: {error}"), "see what reads it"))
        }
        _ => Ok(()),
    }
}

/// Returns a row as an object of JSON, its members in the order of the columns.
pub(crate) fn object(columns: &[Column], row: &Row) -> String {
    let members: Vec<String> = columns
        .iter()
        .filter_map(|column| row.get(column.key).map(|value| format!("\"{}\":{value}", column.key)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn array(columns: &[Column], rows: &[Row]) -> String {
    if rows.is_empty() {
        return "[]\n".to_owned();
    }
    let rows: Vec<String> = rows.iter().map(|row| object(columns, row)).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

fn table(columns: &[Column], rows: &[Row]) -> String {
    let columns: Vec<&Column> = columns.iter().filter(|column| column.side != Side::Hidden).collect();
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_owned()).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(column, row)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| {
            lines.iter().filter_map(|line| line.get(index)).map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&columns).zip(&widths);
        let line: Vec<String> =
            cells.map(|((cell, column), width)| padded(cell, *width, column.side)).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn list(columns: &[Column], row: &Row) -> String {
    let shown = columns.iter().filter(|column| column.side != Side::Hidden && row.contains_key(column.key));
    let title_width = shown.clone().map(|column| width(column.title)).max().unwrap_or(0);
    shown
        .map(|column| format!("{}  {}\n", padded(column.title, title_width, Side::Right), cell(column, row)))
        .collect()
}

fn cell(column: &Column, row: &Row) -> String {
    row.get(column.key).map_or_else(|| "-".to_owned(), |value| harmless(&(column.show)(value)))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(is_so) => (if *is_so { "yes" } else { "no" }).to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Replaces what could command a terminal, since topics and payloads come from anybody.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{FFFD}' } else { letter }).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn padded(text: &str, width: usize, side: Side) -> String {
    let blanks = " ".repeat(width.saturating_sub(self::width(text)));
    if side == Side::Left { blanks + text } else { text.to_owned() + &blanks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[Column] =
        &[Column::text("name", "NAME"), Column::number("waiting", "WAITING"), Column::hidden("bytes")];

    fn rows() -> Vec<Row> {
        [json!({"name": "größe", "waiting": 7, "bytes": 1}), json!({"name": "b\u{1b}[2J", "waiting": 12_345})]
            .iter()
            .filter_map(|row| row.as_object().cloned())
            .collect()
    }

    #[test]
    fn cells_stand_under_their_titles_and_command_no_terminal() {
        assert_eq!(table(COLUMNS, &rows()), "NAME   WAITING\ngröße        7\nb\u{FFFD}[2J    12345\n");
        assert_eq!(table(COLUMNS, &[]), "NAME  WAITING\n");
    }

    #[test]
    fn json_has_every_column_in_order() {
        let text = array(COLUMNS, &rows());
        assert_eq!(
            text,
            "[\n{\"name\":\"größe\",\"waiting\":7,\"bytes\":1},\n{\"name\":\"b\\u001b[2J\",\"waiting\":12345}\n]\n"
        );
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_array());
        assert_eq!(array(COLUMNS, &[]), "[]\n");
    }

    #[test]
    fn one_row_is_a_list() {
        assert_eq!(list(COLUMNS, &rows()[0]), "NAME     größe\nWAITING  7\n");
    }
}
