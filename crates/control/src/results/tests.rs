use std::collections::BTreeMap;

use edgeseal_core::definition::{ExperimentDefinition, MetricDefinition};
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};
use edgeseal_core::time::Timestamp;
use edgeseal_store::{Aggregate, AggregateKey, Allocation, GuardrailState, Sums, UnitValues, Watched};
use serde_json::{Value, json};

use super::{DAY_MS, Question, ResultsView, results};

/// Conversions of control and treatment under one version: (units, converted) each.
type Epoch = [(i64, i128); 2];

struct World {
    experiment: Value,
    epochs: Vec<Epoch>,
    /// Buckets of control and treatment, by epoch.
    shares: Vec<[u32; 2]>,
    states: Vec<GuardrailState>,
    days: i64,
}

impl World {
    fn new(analysis: Value, epochs: &[Epoch]) -> Self {
        Self {
            experiment: json!({
                "key": "e", "state": "running", "variants": [{ "key": "a" }, { "key": "b" }],
                "metrics": { "primary": "sale", "guardrails": ["signup"], "secondary": ["revenue"] },
                "analysis": analysis,
            }),
            epochs: epochs.to_vec(),
            shares: vec![[500_000, 500_000]; epochs.len()],
            states: Vec::new(),
            days: 14,
        }
    }

    fn look(&self) -> (ResultsView, Option<GuardrailState>) {
        let experiment: ExperimentDefinition = serde_json::from_value(self.experiment.clone()).unwrap();
        let metrics = [
            json!({ "key": "sale", "kind": "conversion" }),
            json!({ "key": "signup", "kind": "conversion" }),
            json!({ "key": "revenue", "kind": "continuous" }),
        ];
        let metrics: BTreeMap<MetricKey, MetricDefinition> = metrics
            .into_iter()
            .map(|it| serde_json::from_value::<MetricDefinition>(it).unwrap())
            .map(|it| (it.key.clone(), it))
            .collect();
        let (mut aggregates, mut allocations) = (Vec::new(), Vec::new());
        for (place, (epoch, shares)) in self.epochs.iter().zip(&self.shares).enumerate() {
            let xv = place as u64 + 1;
            let variants = ["a", "b"].map(|key| VariantKey::parse(key).unwrap());
            allocations.push(Allocation {
                xv,
                at_ms: 0,
                unit_type: UnitType::default(),
                shares: variants.iter().cloned().zip(*shares).collect(),
            });
            for (variant, (n, converted)) in variants.iter().zip(*epoch) {
                let mut add = |metric: Option<&str>, sums| {
                    let metric = metric.map(|key| MetricKey::parse(key).unwrap());
                    let experiment = ExperimentKey::parse("e").unwrap();
                    let key = AggregateKey { experiment, xv, variant: variant.clone(), metric };
                    aggregates.push(Aggregate { key, sums });
                };
                let one = Sums::of_unit(&UnitValues { y: 1, ..UnitValues::default() }).unwrap();
                let sums = Sums {
                    n,
                    nonzero: converted as i64,
                    sum: one.sum.map(|it| it * converted),
                    products: one.products.map(|it| it * converted),
                };
                add(None, Sums { n, ..Sums::default() });
                add(Some("sale"), sums);
                add(Some("signup"), sums);
            }
        }
        results(&Question {
            experiment: &experiment,
            metrics: &metrics,
            allocations: &allocations,
            aggregates: &aggregates,
            states: &self.states,
            health: &[],
            now: Timestamp::from_unix_ms(self.days * DAY_MS + 1),
        })
    }

    fn view(&self) -> Value {
        serde_json::to_value(self.look().0).unwrap()
    }

    /// Looks, and keeps what is to be kept.
    fn keep(&mut self) -> Value {
        let (view, kept) = self.look();
        if let Some(kept) = kept {
            match self.states.iter_mut().find(|it| it.key() == kept.key()) {
                Some(known) => *known = known.overwritten_by(&kept),
                None => self.states.push(kept),
            }
        }
        serde_json::to_value(view).unwrap()
    }
}

fn close(value: &Value, pointer: &str, expected: f64) {
    let found =
        value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {value:#}"));
    assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{pointer}: {found}");
}

#[test]
fn an_effect_and_its_interval() {
    let found =
        World::new(json!({ "mode": "fixed", "planned_units": 10_000 }), &[[(10_000, 500), (10_000, 600)]])
            .view();
    let row = &found["rows"][0];
    assert_eq!((row["metric"].as_str(), row["role"].as_str()), (Some("sale"), Some("success")));
    close(row, "/controlArm/mean", 0.05);
    close(row, "/effect/absolute/estimate", 0.01);
    close(row, "/effect/relative/estimate", 0.2);
    // Welch: SE² = (0.05·0.95 + 0.06·0.94)/9 999, and t is 1.960 with 20 000 degrees of freedom.
    let error = ((0.05 * 0.95 + 0.06 * 0.94) / 9_999.0_f64).sqrt();
    let lower = row.pointer("/effect/absolute/lower").and_then(Value::as_f64).unwrap();
    assert!((lower - (0.01 - 1.9601 * error)).abs() < 1e-6, "{lower}");
    assert_eq!(row["effect"]["validAt"], "planned_look");
    assert_eq!(found["rows"][2]["notComputable"], "there are no units yet", "revenue");
}

#[test]
fn before_the_plan_is_met_it_is_said_what_is_missing() {
    for mode in ["fixed", "hybrid"] {
        let world = World {
            days: 3,
            ..World::new(json!({ "mode": mode, "planned_units": 5_000 }), &[[(1_000, 50), (900, 50)]])
        };
        let (_, kept) = world.look();
        assert!(kept.is_some(), "{mode}");
        let found = world.view();
        let missing = &found["decision"]["missing"];
        assert_eq!(missing["code"], "STATISTICAL_POWER_INSUFFICIENT", "{mode}");
        assert_eq!((&missing["unitsMissing"], &missing["daysMissing"]), (&json!(4_100), &json!(4)), "{mode}");
        assert_eq!(found["decision"]["code"], "wait", "{mode}");
        assert_eq!(found["decision"]["treatments"][0]["ship"], false, "{mode}");
    }
}

#[test]
fn without_a_plan_only_a_large_effect_is_declared() {
    let small = World::new(json!({}), &[[(10_000, 500), (10_000, 560)]]).view();
    assert_eq!(small["decision"]["missing"]["code"], "NO_PLAN");
    let large = World::new(json!({}), &[[(10_000, 500), (10_000, 1_000)]]).view();
    assert_eq!(large["decision"]["code"], "ship", "{:#}", large["decision"]);
    let fixed = World::new(json!({ "mode": "fixed" }), &[[(10_000, 500), (10_000, 1_000)]]).view();
    assert_eq!(fixed["decision"]["missing"]["code"], "NO_PLAN");
}

#[test]
fn the_verdict_of_the_planned_look_stays() {
    let mut world =
        World::new(json!({ "mode": "fixed", "planned_units": 10_000 }), &[[(10_000, 500), (10_000, 600)]]);
    let first = world.keep();
    assert_eq!(first["decision"]["code"], "ship", "{:#}", first["decision"]);
    assert_eq!(first["decision"]["verdict"]["findings"][0]["effect"], "better");
    // Later it looks worse; estimates show it, the verdict does not move.
    world.epochs = vec![[(30_000, 1_500), (30_000, 1_500)]];
    world.days = 30;
    let later = world.keep();
    assert_eq!(later["decision"]["verdict"], first["decision"]["verdict"]);
    close(&later["rows"][0], "/effect/absolute/estimate", 0.0);
    // Another plan is another analysis.
    world.experiment["analysis"]["planned_units"] = json!(20_000);
    let other = world.view();
    assert_eq!(other["decision"]["verdict"]["findings"][0]["effect"], "not_shown");
}

#[test]
fn what_is_kept_is_no_evidence_for_the_guardrail() {
    let (_, kept) = World::new(json!({ "planned_units": 100 }), &[[(10_000, 500), (10_000, 600)]]).look();
    let kept = kept.unwrap();
    assert_eq!(
        (kept.xv, kept.max_log_e, kept.alarmed_at_ms, &kept.watched),
        (0, 0.0, None, &Watched::Winner)
    );
    assert!(kept.check().is_ok());
}

#[test]
fn wrong_shares_withhold_everything() {
    let found = World::new(json!({ "planned_units": 100 }), &[[(10_000, 500), (12_000, 900)]]).view();
    assert_eq!(found["sampleRatio"]["finding"], "red");
    assert_eq!(found["decision"]["missing"]["code"], "SAMPLE_RATIO_MISMATCH");
    assert_eq!(found["decision"]["treatments"][0]["ship"], false);
}

#[test]
fn epochs_are_compared_each_for_itself() {
    // The rate falls while the treatment grows: together the treatment looks worse, in each epoch it is as good.
    let mut world = World::new(
        json!({ "mode": "fixed", "planned_units": 1_000 }),
        &[[(9_000, 900), (1_000, 100)], [(5_000, 250), (5_000, 250)]],
    );
    world.shares = vec![[900_000, 100_000], [500_000, 500_000]];
    let found = world.view();
    close(&found["rows"][0], "/effect/absolute/estimate", 0.0);
    assert_eq!(found["sampleRatio"]["finding"], "silent");
    assert_eq!(found["decision"]["verdict"]["findings"][0]["effect"], "not_shown");
    close(&found["rows"][0], "/controlArm/mean", (1_000.0 * 0.1 + 5_000.0 * 0.05) / 6_000.0);
}

#[test]
fn a_guardrail_that_alarmed_speaks_against_shipping() {
    let mut world = World::new(
        json!({ "mode": "fixed", "planned_units": 1_000, "margins": { "signup": 10 } }),
        &[[(10_000, 500), (10_000, 600)]],
    );
    assert_eq!(world.view()["decision"]["code"], "ship");
    world.states.push(GuardrailState {
        experiment: ExperimentKey::parse("e").unwrap(),
        xv: 1,
        watched: Watched::Metric(MetricKey::parse("signup").unwrap()),
        variant: Some(VariantKey::parse("b").unwrap()),
        max_log_e: 6.0,
        alarmed_at_ms: Some(1),
        detail: r#"{"threshold":4.8}"#.to_owned(),
        checked_at_ms: 1,
    });
    let found = world.view();
    assert_eq!(found["decision"]["code"], "do_not_ship");
    assert_eq!(found["decision"]["treatments"][0]["reasons"][0]["code"], "GUARDRAIL_ALARMED");
    let guardrail = &found["rows"][1]["guardrail"];
    assert_eq!((&guardrail["alarmed"], &guardrail["threshold"]), (&json!(true), &json!(4.8)));
}

#[test]
fn nothing_to_show_is_shown_as_such() {
    let mut world = World::new(json!({}), &[]);
    let found = world.view();
    assert_eq!(found["rows"][0]["notComputable"], "there are no units yet");
    assert_eq!(found["decision"]["treatments"][0]["ship"], false);
    world.experiment["metrics"] = json!({});
    assert_eq!(world.view()["decision"]["code"], "no_success_metric");
    world.experiment["variants"] = json!([{ "key": "a" }]);
    assert_eq!(world.view()["decision"]["code"], "no_treatment");
    assert_eq!(world.view()["rows"], json!([]));
}
