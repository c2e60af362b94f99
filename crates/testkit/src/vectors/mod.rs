//! Generators of the language-neutral test vectors under `vectors/`.
//!
//! Deterministic: fixed seeds, no clock, no randomness. Regenerating must leave a clean tree; `make test` checks it.

pub mod bucketing;
pub mod evaluation;
pub mod sealing;
