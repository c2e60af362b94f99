//! Fixtures that the tests of several crates share, and the generators of the files under `vectors/`.
//!
//! Only ever a dev-dependency (and a dependency of the benchmarks).

pub mod vectors;
