use std::collections::BTreeMap;

use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitId, UnitType, VariantKey};
use edgeseal_core::sealing::SubjectTag;
use edgeseal_store::{
    AggregateDelta, AggregateKey, Contribution, RollUp, RollUps as _, Sums, UnitRef, UnitState, UnitValues,
};
use serde_json::json;

use crate::routes::testing::{Ask, Client};

async fn client() -> Client {
    let client = Client::new().await;
    client
        .world
        .apply(json!({
            "experiments": [{
                "key": "e", "state": "running", "variants": [{ "key": "a" }, { "key": "b" }],
                "metrics": { "primary": "sale", "guardrails": ["sale"] },
            }],
            "metrics": [{ "key": "sale", "kind": "conversion" }],
        }))
        .await;
    client
}

/// Puts totals where the roll-up does.
async fn count(client: &Client, [control, treatment]: [(i64, i128); 2]) {
    let world = &client.world;
    let head = world.store.rolled_up(&world.environment).await.unwrap();
    let one = Sums::of_unit(&UnitValues { y: 1, ..UnitValues::default() }).unwrap();
    let delta = |variant, metric, sums| AggregateDelta {
        key: AggregateKey {
            experiment: ExperimentKey::parse("e").unwrap(),
            xv: 1,
            variant: VariantKey::parse(variant).unwrap(),
            metric,
        },
        delta: sums,
    };
    let sums = |(n, converted): (i64, i128)| Sums {
        n,
        nonzero: converted as i64,
        sum: one.sum.map(|it| it * converted),
        products: one.products.map(|it| it * converted),
    };
    let mut aggregates = Vec::new();
    for (variant, counted) in [("a", control), ("b", treatment)] {
        aggregates.push(delta(variant, None, Sums { n: counted.0, ..Sums::default() }));
        aggregates.push(delta(variant, Some(MetricKey::parse("sale").unwrap()), sums(counted)));
    }
    let user = UnitType::default();
    let tag = SubjectTag::of(&world.environment, &user, UnitId::parse("user-1").unwrap());
    let contribution = Contribution {
        experiment: ExperimentKey::parse("e").unwrap(),
        unit: UnitRef { unit_type: user, tag },
        variant: VariantKey::parse("a").unwrap(),
        xv: 1,
        first_ms: 0,
        state: UnitState::Counted,
        drifted: false,
        values: BTreeMap::new(),
    };
    let step = RollUp {
        expected: head.sequence,
        cursor: head.cursor,
        contributions: vec![contribution],
        aggregates,
        ..RollUp::default()
    };
    world.store.apply_rollup(&world.environment, &step).await.unwrap();
}

#[tokio::test]
async fn results_now_and_as_they_were_kept() {
    let client = client().await;
    count(&client, [(1_000, 50), (1_000, 60)]).await;
    let now = client.ok(Ask::get("/experiments/e/results").by("viewer")).await.body;
    assert_eq!(now["rows"].as_array().unwrap().len(), 2, "{now:#}");
    assert_eq!(now["rows"][0]["treatmentArm"], json!({ "units": 1_000, "nonzero": 60, "mean": 0.06 }));
    assert_eq!((&now["decision"]["missing"]["code"], &now["series"]), (&json!("NO_PLAN"), &json!([])));

    let world = &client.world;
    let seen = world.control.record_results(&world.environment, None).await.unwrap();
    let again = world.control.record_results(&world.environment, Some(seen)).await.unwrap();
    assert_eq!(seen, again);
    count(&client, [(1_000, 50), (1_000, 40)]).await;
    let now = client.ok(Ask::get("/experiments/e/results").by("viewer")).await.body;
    assert_eq!(now["rows"][0]["treatmentArm"]["nonzero"], 100);
    assert_eq!(now["series"].as_array().unwrap().len(), 1, "a metric in two roles has one interval");
    let at = now["asOf"].as_str().unwrap();
    let then = client.ok(Ask::get(&format!("/experiments/e/results?at={at}")).by("viewer")).await.body;
    assert_eq!(then["rows"][0]["treatmentArm"]["nonzero"], 60);
    assert_eq!(then.get("decision"), None);
    let before =
        client.ok(Ask::get("/experiments/e/results?at=2001-01-01T00:00:00Z").by("viewer")).await.body;
    assert_eq!((&before["rows"], &before["series"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn what_is_refused() {
    let client = client().await;
    for (path, status) in [("/experiments/none/results", 404), ("/experiments/e/results?at=yesterday", 400)] {
        let told = client.send(Ask::get(path).by("viewer")).await;
        assert_eq!(told.status, status, "{path}: {:#}", told.body);
    }
}
