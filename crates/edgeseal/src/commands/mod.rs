//! The subcommands, one file each: its flags, what it does, what it prints.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod docs;
pub(crate) mod evaluate;
pub(crate) mod keys;
pub(crate) mod leak_test;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod snapshot;
pub(crate) mod verify;
