//! The experiments file: YAML or JSON from people, a checked definition for the core, and a line in every refusal.
//!
//! Reading has three doors, each of which answers with the place of the fault: syntax ([`yaml`], [`json`]), shape
//! (unknown member, wrong type) and meaning (weights that do not add up, an unknown layer, a bad condition).

mod json;
mod position;
mod shape;
mod yaml;

use std::fmt;
use std::path::Path;

use edgeseal_core::definition::Definition;
use edgeseal_core::ids::Environment;
use edgeseal_core::snapshot::Snapshot;
use edgeseal_core::time::Timestamp;

use crate::data_dir::read_bounded;
use crate::exit::{Failure, Outcome};
use position::{Position, Positions};
use serde_json::Value;

/// Largest experiments file, in bytes.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Most values in the file, what aliases stand for counted in full.
const MAX_NODES: usize = 1_000_000;
/// Deepest nesting; payloads and conditions have bounds of their own below this.
const MAX_DEPTH: usize = 64;
/// The sample that `--demo` serves.
pub(crate) const DEMO: &str = include_str!("../../demo/experiments.yaml");
/// What the sample is called in messages.
const DEMO_NAME: &str = "demo/experiments.yaml";

/// A read experiments file: the right shape, not yet built.
#[derive(Debug)]
pub(crate) struct ExperimentsFile {
    source: Source,
    definition: Definition,
    names_environment: bool,
}

/// The text of a file; its name decides between JSON (`.json`) and YAML (anything else).
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
}

/// One reason to refuse the file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFault {
    at: Position,
    message: String,
}

/// Why a file was refused: `file:line:column: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    name: String,
    fault: FileFault,
}

impl ExperimentsFile {
    /// Reads the file at `path`.
    pub(crate) fn load(path: &Path) -> Outcome<Self> {
        let name = path.display().to_string();
        let bytes = read_bounded(path, MAX_FILE_BYTES as u64).map_err(|error| {
            Failure::unreachable(format_args!("cannot read the experiments file '{name}': {error}"))
        })?;
        Ok(Self::parse(&name, &bytes)?)
    }

    /// The embedded sample.
    pub(crate) fn demo() -> Outcome<Self> {
        Ok(Self::parse(DEMO_NAME, DEMO.as_bytes())?)
    }

    /// Reads the text of a file.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self, Refusal> {
        let refusal = |fault| Refusal { name: name.to_owned(), fault };
        let text =
            std::str::from_utf8(bytes).map_err(|error| refusal(not_utf8(bytes, error.valid_up_to())))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        let value = source.value().map_err(refusal)?;
        let names_environment = value.get("environment").is_some();
        let definition = shape::check(value, || source.positions()).map_err(refusal)?;
        Ok(Self { source, definition, names_environment })
    }

    /// What the file says.
    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Builds the snapshot that follows `previous`; it is known to compile.
    pub(crate) fn build(&self, previous: Option<&Snapshot>, now: Timestamp) -> Result<Snapshot, Refusal> {
        self.definition.build(previous, now).map_err(|error| self.refusal(&error.path, &error.kind))
    }

    /// Settles the environment: the file's own, or the one asked for when the file names none.
    pub(crate) fn settle_environment(&mut self, asked: Option<&Environment>) -> Result<(), Refusal> {
        match asked {
            Some(asked) if !self.names_environment => self.definition.environment = asked.clone(),
            Some(asked) if *asked != self.definition.environment => {
                let message = format_args!(
                    "the file is for environment '{}', but '{asked}' was asked for: change one of them",
                    self.definition.environment
                );
                return Err(self.refusal("/environment", &message));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the file itself names its environment.
    pub(crate) fn names_environment(&self) -> bool {
        self.names_environment
    }

    /// Refuses the value at `pointer`, or the nearest one around it that the file holds.
    pub(crate) fn refusal(&self, pointer: &str, why: &dyn fmt::Display) -> Refusal {
        let fault = FileFault::new(self.source.positions().of_value(pointer), why);
        Refusal { name: self.source.name.clone(), fault }
    }
}

impl Source {
    fn value(&self) -> Result<Value, FileFault> {
        if self.is_json() { json::value(&self.text) } else { yaml::value(&self.text) }
    }

    /// Reads the text once more to learn where everything stands: good files never need it.
    fn positions(&self) -> Positions {
        if self.is_json() { json::positions(&self.text) } else { yaml::positions(&self.text) }
    }

    fn is_json(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    }
}

impl FileFault {
    fn new(at: Position, message: impl fmt::Display) -> Self {
        Self { at, message: message.to_string() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.name, self.fault.at, self.fault.message)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::no(refusal)
    }
}

/// A YAML text as the value that the schema sees.
#[cfg(test)]
pub(crate) fn yaml_value(text: &str) -> Value {
    yaml::value(text).unwrap()
}

fn not_utf8(bytes: &[u8], valid_up_to: usize) -> FileFault {
    let before = &bytes[..valid_up_to];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let column = before.rsplit(|&byte| byte == b'\n').next().map_or(0, <[u8]>::len) + 1;
    FileFault::new(Position { line, column }, "the file is not UTF-8 from here on: save it as UTF-8")
}
