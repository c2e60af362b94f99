//! The parts as real processes on real stores, and what happens when something breaks: control planes killed while they
//! publish, databases stopped, disks damaged, clocks that jump, strangers in between.
//!
//! In every test edges are under a steady load while it happens ([`fleet::UnderLoad`]): not one request may fail, and no
//! version that an edge shows may go back. One test program for all of them, because linking it takes longer than most.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod api;
mod clock_jumps;
mod common;
mod control_killed;
mod counting;
mod disk_damage;
mod edge_token;
mod event_sink;
mod events_counted;
mod events_killed;
mod fleet;
mod foreign_documents;
mod harm;
mod history;
mod key_rotation;
mod network;
mod operations;
mod postgres_down;
mod redis_down;
mod replay;
mod several_controls;
mod wire;
mod writer;
