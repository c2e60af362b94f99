//! Every case of `vectors/stats/stats-vectors.json` at its own tolerance. Its schema: `vectors/stats/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is the failure")]

mod cases;
mod classical;
mod means;
mod power;
mod sequential;
mod special;
mod srm;

use std::collections::BTreeSet;

use cases::all_cases;

/// Where the kinds' runners are: a kind counts as run when one of these names it.
const RUNNERS: &[&str] = &[
    include_str!("classical.rs"),
    include_str!("means.rs"),
    include_str!("power.rs"),
    include_str!("sequential.rs"),
    include_str!("special.rs"),
    include_str!("srm.rs"),
];

#[test]
fn every_kind_has_a_runner() {
    let missing: BTreeSet<String> = all_cases()
        .iter()
        .map(|case| case.kind.clone())
        .filter(|kind| !RUNNERS.iter().any(|source| source.contains(&format!("run(\"{kind}\""))))
        .collect();
    assert!(missing.is_empty(), "kinds without a runner: {missing:?}");
}
