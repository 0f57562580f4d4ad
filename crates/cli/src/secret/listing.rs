//! The secrets of a project file, as a table.

use crosspoint_hub::secret::{Listed, Standing};
use serde_json::Value;

use crate::failure::Failure;
use crate::table::{Column, Form, Row, print as print_table};

const COLUMNS: &[Column] = &[
    Column::text("path", "SECRET"),
    Column::text("environment", "ENVIRONMENT"),
    Column::text("kind", "KEPT AS"),
    Column::text("reference", "FROM"),
    Column::text("standing", "STANDING"),
];

/// Prints where each secret stands and how it is kept.
///
/// # Errors
/// Stdout takes no more.
pub(super) fn print(listed: &[Listed], form: Form) -> Result<(), Failure> {
    let rows: Vec<Row> = listed.iter().map(row).collect();
    print_table(form, COLUMNS, &rows)
}

fn row(listed: &Listed) -> Row {
    let field = &listed.field;
    let standing = listed.standing.as_ref().map(|standing| match standing {
        Standing::Opens => "opens".to_owned(),
        Standing::Closed(why) => why.clone(),
    });
    let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
    [
        ("path", text(Some(&field.path))),
        ("environment", text(field.environment.as_deref())),
        ("kind", text(Some(field.kind.as_str()))),
        ("reference", text(field.reference.as_deref())),
        ("standing", text(standing.as_deref())),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
