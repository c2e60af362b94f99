//! Differences between two definitions, as `apply` and `experiment diff` print them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::exit::Outcome;
use crate::output::{Output, Tone};
use crate::printable::{printable, value};

/// One place where two definitions differ.
#[derive(Debug, Deserialize)]
pub(crate) struct Difference {
    /// Where (RFC 6901).
    #[serde(default)]
    pointer: String,
    /// What was there; `None`: nothing.
    #[serde(default, deserialize_with = "some")]
    from: Option<Value>,
    /// What is there now; `None`: nothing.
    #[serde(default, deserialize_with = "some")]
    to: Option<Value>,
}

/// Prints one line for each difference.
pub(crate) fn print(output: Output, differences: &[Difference]) -> Outcome<()> {
    let arrow = if output.rich() { "→" } else { "->" };
    for Difference { pointer, from, to } in differences {
        let pointer = if pointer.is_empty() { "/" } else { pointer };
        let from = from.as_ref().map_or_else(|| "(none)".to_owned(), value);
        let to = to.as_ref().map_or_else(|| "(none)".to_owned(), value);
        output.line(format_args!(
            "    {}: {} {arrow} {}",
            printable(pointer),
            output.paint(Tone::Dim, from),
            to
        ))?;
    }
    Ok(())
}

/// `null` is a value, unlike a member that is not there.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
