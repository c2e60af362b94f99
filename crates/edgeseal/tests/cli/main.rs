//! The binary as its users meet it: every test runs the real `edgeseal`.
//!
//! One test program for all files, because linking it takes longer than running it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;
mod experiments_file;
mod generated;
mod keys;
mod leak_test;
mod remote;
mod serve;
mod telemetry;
mod verify;
