//! JSON, and the position of each value.
//!
//! The strict parser of the core decides what is JSON; this only walks the text again, now known to be good,
//! to learn where everything stands.

use edgeseal_core::json::{self, JsonError, Limits};
use serde_json::Value;

use super::position::{Position, Positions, START, child};
use super::{FileFault, MAX_DEPTH, MAX_FILE_BYTES};

/// Reads one JSON document.
pub(super) fn value(text: &str) -> Result<Value, FileFault> {
    let limits = Limits { max_bytes: MAX_FILE_BYTES, max_depth: MAX_DEPTH };
    json::parse(text.as_bytes(), limits).map_err(|error| fault(text, error))
}

/// Where everything stands in a document that is JSON.
pub(super) fn positions(text: &str) -> Positions {
    Walker::walk(text).positions
}

fn fault(text: &str, error: JsonError) -> FileFault {
    match error {
        JsonError::Syntax { line, column, reason } => FileFault::new(
            Position { line: line.max(1), column: column.max(1) },
            format_args!("not valid JSON: {reason}"),
        ),
        JsonError::DuplicateMember { .. } | JsonError::TooDeep { .. } => {
            FileFault::new(Walker::walk(text).offence, error)
        }
        _ => FileFault::new(START, error),
    }
}

struct Walker<'a> {
    rest: std::str::Chars<'a>,
    at: Position,
    positions: Positions,
    /// The first member that is repeated, or the first value that nests too deep.
    offence: Position,
}

impl<'a> Walker<'a> {
    /// Walks a text that breaks no rule of the grammar, or none before its first offence.
    fn walk(text: &'a str) -> Self {
        let mut walker =
            Self { rest: text.chars(), at: START, positions: Positions::default(), offence: START };
        walker.value("", None, 0);
        walker
    }

    fn value(&mut self, pointer: &str, name: Option<Position>, depth: usize) {
        self.skip_space();
        let repeated = self.positions.note(pointer, self.at, name);
        if repeated || depth > MAX_DEPTH {
            // Nobody has looked at what follows: it may be anything, nested a million times.
            self.offence = name.unwrap_or(self.at);
            self.rest = "".chars();
            return;
        }
        match self.peek() {
            Some('{') => self.object(pointer, depth + 1),
            Some('[') => self.array(pointer, depth + 1),
            Some('"') => {
                self.string();
            }
            _ => {
                while self
                    .peek()
                    .is_some_and(|next| !matches!(next, ',' | ']' | '}') && !next.is_ascii_whitespace())
                {
                    self.bump();
                }
            }
        }
    }

    fn object(&mut self, pointer: &str, depth: usize) {
        self.bump();
        loop {
            self.skip_space();
            match self.peek() {
                Some('"') => {
                    let at = self.at;
                    let name = self.string();
                    self.skip_space();
                    self.bump(); // ':'
                    self.value(&child(pointer, &name), Some(at), depth);
                }
                Some(',') => self.bump(),
                _ => return self.bump(), // '}'
            }
        }
    }

    fn array(&mut self, pointer: &str, depth: usize) {
        self.bump();
        let mut index = 0;
        loop {
            self.skip_space();
            match self.peek() {
                Some(']') | None => return self.bump(),
                Some(',') => self.bump(),
                Some(_) => {
                    self.value(&child(pointer, &format!("{index}")), None, depth);
                    index += 1;
                }
            }
        }
    }

    /// The string that begins here, decoded.
    fn string(&mut self) -> String {
        let mut raw = String::from('"');
        self.bump();
        while let Some(next) = self.peek() {
            raw.push(next);
            self.bump();
            if next == '\\' {
                raw.extend(self.peek());
                self.bump();
            } else if next == '"' {
                break;
            }
        }
        serde_json::from_str(&raw).unwrap_or(raw)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|next| next.is_ascii_whitespace()) {
            self.bump();
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn bump(&mut self) {
        match self.rest.next() {
            Some('\n') => self.at = Position { line: self.at.line + 1, column: 1 },
            Some(_) => self.at.column += 1,
            None => {}
        }
    }
}
