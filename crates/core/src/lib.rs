//! The pure heart of Edgeseal: which unit sees which variant, and the signature over that answer.
//!
//! Bytes and values come in, values go out. Nothing here does I/O, reads a clock, draws randomness, spawns
//! or logs: time, seeds and keys are arguments. The same code runs in the native edge, in the Worker as
//! WebAssembly, and in tests.
//!
//! Read in this order: [`snapshot`] (what an environment runs), [`evaluate`] (a unit's variant and the reason),
//! [`answer`] (evaluation sealed as a token), [`sealing`] (signing, verifying, rotating).
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![cfg_attr(
    test,
    allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "tests may compute freely")
)]

pub mod allocation;
pub mod answer;
pub mod attributes;
pub mod audience;
pub mod bucket;
pub mod definition;
pub mod evaluate;
pub mod events;
pub mod explain;
pub mod ids;
pub mod json;
pub mod ruleset;
pub mod sealing;
pub mod snapshot;
pub mod time;

#[cfg(test)]
mod testing;
