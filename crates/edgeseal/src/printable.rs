//! Words that came from elsewhere, made fit for a terminal, and tables of them.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::exit::Outcome;
use crate::output::{Output, Tone};

/// Between two columns.
const GAP: &str = "  ";
/// Longest value that is shown in a line, in characters.
const MAX_VALUE_CHARS: usize = 72;

/// `text` without control characters: names and reasons are other people's words, and a terminal obeys some of them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// A JSON value in one short line.
pub(crate) fn value(value: &Value) -> String {
    let text = printable(&value.to_string());
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The text at `pointer`, `-` when there is none.
pub(crate) fn text_at(item: &Value, pointer: &str) -> String {
    match item.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => value(other),
    }
}

/// The time at `pointer` (RFC 3339) to the second, in UTC.
pub(crate) fn time_at(item: &Value, pointer: &str) -> String {
    let text = text_at(item, pointer);
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => text,
    }
}

/// A span of seconds in the largest unit that says enough.
pub(crate) fn span(seconds: i64) -> String {
    let (amount, unit) = match seconds.unsigned_abs() {
        up_to @ 0..120 => (up_to, "s"),
        up_to @ 120..7_200 => (up_to / 60, "min"),
        up_to @ 7_200..172_800 => (up_to / 3_600, "h"),
        more => (more / 86_400, "days"),
    };
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{amount} {unit}")
}

/// One cell of a table.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// In a colour.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()), tone: Some(tone) }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: printable(text.as_ref()), tone: None }
    }
}

/// Prints rows in aligned columns; the titles are a remark, so `--quiet` leaves them out.
pub(crate) fn table<const N: usize>(output: Output, titles: [&str; N], rows: &[[Cell; N]]) -> Outcome<()> {
    let mut widths = titles.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let line = |cells: [(&str, Option<Tone>); N]| {
        let mut line = String::new();
        for (place, ((text, tone), width)) in cells.into_iter().zip(widths).enumerate() {
            let padding = if place + 1 == N { 0 } else { width - text.chars().count() };
            let shown = tone.map_or_else(|| text.to_owned(), |tone| output.paint(tone, text));
            // Writing into a string cannot fail.
            let _ = write!(line, "{shown}{:padding$}{}", "", if place + 1 == N { "" } else { GAP });
        }
        output.line(line.trim_end())
    };
    if !output.quiet {
        line(titles.map(|title| (title, Some(Tone::Dim))))?;
    }
    for row in rows {
        line(row.each_ref().map(|cell| (cell.text.as_str(), cell.tone)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_terminal_gets_no_orders_from_strangers() {
        assert_eq!(printable("a\u{1b}[31mb\u{9b}c\nd"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(value(&json!({ "a": "\u{7f}" })), "{\"a\":\"\u{fffd}\"}");
        assert_eq!(value(&json!("x".repeat(100))).chars().count(), MAX_VALUE_CHARS + 1);
    }

    #[test]
    fn times_and_spans_are_short() {
        let item = json!({ "at": "2026-11-23T16:21:23.456Z", "odd": "yesterday", "n": 5 });
        assert_eq!(time_at(&item, "/at"), "2026-11-23 16:21:23");
        assert_eq!((time_at(&item, "/odd"), time_at(&item, "/none")), ("yesterday".into(), "-".into()));
        assert_eq!(text_at(&item, "/n"), "5");
        let spans = [0, 119, 120, 7_200, 172_800, -61].map(span);
        assert_eq!(spans, ["0 s", "119 s", "2 min", "2 h", "2 days", "-61 s"]);
    }
}
