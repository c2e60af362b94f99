//! Where things stand in a file: a JSON pointer leads to a line and a column.

use std::collections::HashMap;
use std::fmt;

/// A place in a text file, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
}

/// The first character of a file.
pub(super) const START: Position = Position { line: 1, column: 1 };

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The start of a value, and of the name before it when it is a member of an object.
#[derive(Debug, Clone, Copy)]
struct Spot {
    value: Position,
    name: Option<Position>,
}

/// Positions of all values of a document by their JSON pointer (RFC 6901).
#[derive(Debug, Default)]
pub(crate) struct Positions {
    spots: HashMap<String, Spot>,
}

impl Positions {
    /// Notes where the value at `pointer` begins, and where its name does; says whether it was noted before.
    pub(super) fn note(&mut self, pointer: &str, value: Position, name: Option<Position>) -> bool {
        self.spots.insert(pointer.to_owned(), Spot { value, name }).is_some()
    }

    /// Where the value at `pointer` begins, or the nearest value around it that the file holds.
    pub(crate) fn of_value(&self, pointer: &str) -> Position {
        self.nearest(pointer).map_or(START, |spot| spot.value)
    }

    /// Where the member at `pointer` begins: its name.
    pub(crate) fn of_member(&self, pointer: &str) -> Position {
        self.nearest(pointer).map_or(START, |spot| spot.name.unwrap_or(spot.value))
    }

    fn nearest(&self, pointer: &str) -> Option<Spot> {
        let mut rest = pointer;
        loop {
            if let Some(spot) = self.spots.get(rest) {
                return Some(*spot);
            }
            rest = rest.rsplit_once('/')?.0;
        }
    }
}

/// `parent` extended by one member name or index, escaped as RFC 6901 asks.
pub(super) fn child(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}
