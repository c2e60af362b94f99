//! The experiments that the figures are measured with.

use serde_json::{Value, json};

/// `count` running experiments of two variants; every third is for everyone, the others are for units of three
/// countries.
pub(crate) fn running(count: usize) -> Value {
    let experiments: Vec<Value> = (0..count).map(experiment).collect();
    json!({ "environment": "bench", "experiments": experiments })
}

fn experiment(n: usize) -> Value {
    let mut experiment = json!({
        "key": format!("experiment-{n:04}"),
        "state": "running",
        "traffic": 100,
        "variants": [{ "key": "control", "weight": 50 }, { "key": "treatment", "weight": 50 }]
    });
    if n % 3 != 1 {
        experiment["audience"] = json!({ "country": { "$in": ["de", "at", "ch"] } });
    }
    experiment
}
