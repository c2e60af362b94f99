//! YAML 1.2 into JSON values, and the position of each.
//!
//! Written over the event stream rather than a loaded tree because bounds must hold while reading: aliases are
//! expanded one by one against [`MAX_NODES`], so a "billion laughs" file is refused instead of filling memory.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};

use super::position::{Position, Positions, child};
use super::{FileFault, MAX_DEPTH, MAX_NODES};

/// Reads one YAML document.
pub(super) fn value(text: &str) -> Result<Value, FileFault> {
    Reader::new(text, None).document()
}

/// Where everything stands in a document, as far as it can be read.
pub(super) fn positions(text: &str) -> Positions {
    let mut reader = Reader::new(text, Some(Positions::default()));
    // Whoever asks knows already what is wrong.
    let _ = reader.document();
    reader.positions.unwrap_or_default()
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    nodes: usize,
    /// Noted only when asked for: they cost as much as everything else together, and good files need none.
    positions: Option<Positions>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, positions: Option<Positions>) -> Self {
        Self { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, positions }
    }

    fn document(&mut self) -> Result<Value, FileFault> {
        let value = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd, span) => {
                    return Err(FileFault::new(
                        position(span.start),
                        "the file is empty: it needs at least an environment and experiments",
                    ));
                }
                (event, span) => break self.node(event, span, "", None, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(value),
                (Event::DocumentStart(_), span) => {
                    return Err(FileFault::new(
                        position(span.start),
                        "a second document begins: keep one document in the file",
                    ));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), FileFault> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(FileFault::new(
                position(*error.marker()),
                format_args!("not valid YAML: {}", error.info()),
            )),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        pointer: &str,
        name: Option<Position>,
        depth: usize,
    ) -> Result<Value, FileFault> {
        let at = position(span.start);
        if let Some(positions) = &mut self.positions {
            positions.note(pointer, at, name);
        }
        self.count(1, at)?;
        if depth > MAX_DEPTH {
            return Err(FileFault::new(
                at,
                format_args!("nested deeper than the {MAX_DEPTH} levels allowed"),
            ));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, scalar(&text, style, tag.as_deref(), at)?),
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(pointer, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(pointer, depth)?),
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return Err(FileFault::new(
                        at,
                        "the alias stands inside the value it names: write the value out",
                    ));
                };
                // Everything in an alias' copy is reported at the alias: that is the line to edit.
                self.count(size_of_value(&value), at)?;
                (0, value)
            }
            _ => return Err(FileFault::new(at, "not valid YAML: a value is missing here")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, pointer: &str, depth: usize) -> Result<Value, FileFault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let pointer = self.child(pointer, || items.len().to_string());
            items.push(self.node(event, span, &pointer, None, depth + 1)?);
        }
    }

    fn mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, FileFault> {
        let mut members = Map::new();
        loop {
            let (event, span) = self.next()?;
            let at = position(span.start);
            let name = match event {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(FileFault::new(
                        at,
                        "a member name must be a plain text, not a list, a mapping or an alias",
                    ));
                }
            };
            if members.contains_key(&name) {
                return Err(FileFault::new(at, format_args!("'{name}' is given twice: keep one of them")));
            }
            let pointer = self.child(pointer, || name.clone());
            let (event, span) = self.next()?;
            let value = self.node(event, span, &pointer, Some(at), depth + 1)?;
            members.insert(name, value);
        }
    }

    fn child(&self, parent: &str, name: impl FnOnce() -> String) -> String {
        if self.positions.is_some() { child(parent, &name()) } else { String::new() }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), FileFault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(FileFault::new(
                at,
                format_args!("the file holds more than {MAX_NODES} values, aliases counted in full"),
            ));
        }
        Ok(())
    }
}

/// A scalar by the YAML 1.2 core schema (YAML 1.2.2, section 10.3.2): only plain ones can be anything but text.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Result<Value, FileFault> {
    let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || forced_text {
        return Ok(Value::String(text.to_owned()));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FileFault::new(
            at,
            format_args!(
                "'{text}' would lose its leading zero as a number: write '\"{text}\"' for a text, or drop the zero"
            ),
        ));
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        if let Ok(whole) = text.parse::<u64>() {
            return Ok(Value::from(whole));
        }
        if let Ok(whole) = text.parse::<i64>() {
            return Ok(Value::from(whole));
        }
    }
    if looks_like_a_decimal(digits) {
        return match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(FileFault::new(at, format_args!("the number '{text}' is too large"))),
        };
    }
    Ok(Value::String(text.to_owned()))
}

/// `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn looks_like_a_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits_only(whole)
        && digits_only(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits_only(exponent))
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size_of_value).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size_of_value).sum::<usize>(),
        _ => 1,
    }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}
