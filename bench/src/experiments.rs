//! The experiments that the figures are measured with.

use serde_json::{Value, json};

/// `count` running experiments of two variants, each for units of three countries.
pub(crate) fn running(count: usize) -> Value {
    let experiments: Vec<Value> = (0..count).map(experiment).collect();
    json!({ "environment": "bench", "experiments": experiments })
}

fn experiment(n: usize) -> Value {
    json!({
        "key": format!("experiment-{n:04}"),
        "state": "running",
        "traffic": 100,
        "audience": { "country": { "$in": ["de", "at", "ch"] } },
        "variants": [{ "key": "control", "weight": 50 }, { "key": "treatment", "weight": 50 }]
    })
}
