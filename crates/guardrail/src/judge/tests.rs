use edgeseal_core::definition::MetricKind;
use edgeseal_core::ids::{MetricKey, UnitType, VariantKey};
use edgeseal_stats::NotComputable;
use edgeseal_stats::guardrail::Direction;
use edgeseal_store::AggregateKey;
use edgeseal_store::Sums;

use super::*;
use crate::settings::GuardrailMetric;

const NOW_MS: i64 = 1_764_000_000_000;

fn variant(key: &str) -> VariantKey {
    VariantKey::parse(key).unwrap()
}

fn metric(key: &str, kind: MetricKind) -> GuardrailMetric {
    let key = MetricKey::parse(key).unwrap();
    GuardrailMetric { key, kind, direction: Direction::LowerIsHarm, margin: 0.0 }
}

/// One experiment as the judge sees it.
#[derive(Clone)]
struct World {
    settings: Settings,
    xv: u64,
    running: bool,
    allocations: Vec<Allocation>,
    aggregates: Vec<Aggregate>,
    states: Vec<GuardrailState>,
}

impl World {
    /// Halves of 'control' and 'treatment', guarded by these metrics.
    fn new(metrics: &[GuardrailMetric]) -> Self {
        let settings = Settings {
            experiment: ExperimentKey::parse("e").unwrap(),
            control: variant("control"),
            treatments: vec![variant("treatment")],
            sticky: false,
            metrics: metrics.to_vec(),
            alpha: 0.01,
            n_star: 20_000.0,
            on_harm: OnHarm::Pause,
        };
        let mut world = Self {
            settings,
            xv: 0,
            running: true,
            allocations: Vec::new(),
            aggregates: Vec::new(),
            states: Vec::new(),
        };
        world.next_epoch(&[("control", 500_000), ("treatment", 500_000)]);
        world
    }

    fn signups() -> Self {
        Self::new(&[metric("signup", MetricKind::Conversion)])
    }

    fn next_epoch(&mut self, shares: &[(&str, u32)]) {
        self.xv += 1;
        self.allocations.push(Allocation {
            xv: self.xv,
            at_ms: NOW_MS,
            unit_type: UnitType::default(),
            shares: shares.iter().map(|(key, buckets)| (variant(key), *buckets)).collect(),
        });
    }

    fn put(&mut self, arm: &str, metric: Option<&str>, sums: Sums) {
        let key = AggregateKey {
            experiment: self.settings.experiment.clone(),
            xv: self.xv,
            variant: variant(arm),
            metric: metric.map(|key| MetricKey::parse(key).unwrap()),
        };
        self.aggregates.retain(|it| it.key != key);
        self.aggregates.push(Aggregate { key, sums });
    }

    /// Units of an arm in the current epoch, as many of which have value `value` in `metric` as `nonzero` says.
    fn seen(&mut self, arm: &str, metric: &str, n: i64, nonzero: i64, value: i128) {
        self.put(arm, None, Sums { n, ..Sums::default() });
        let mut sums = Sums { n, nonzero, ..Sums::default() };
        sums.sum[0] = i128::from(nonzero) * value;
        sums.products[0] = i128::from(nonzero) * value * value;
        self.put(arm, Some(metric), sums);
    }

    fn look(&self) -> Look<'_> {
        Look {
            settings: &self.settings,
            xv: self.xv,
            running: self.running,
            allocations: &self.allocations,
            aggregates: &self.aggregates,
            states: &self.states,
            now_ms: NOW_MS,
        }
    }

    /// Judges, keeps what was found, and acts when that is the decision.
    fn round(&mut self) -> Judgement {
        let judgement = judge(&self.look());
        self.keep(&judgement.states);
        if let Decision::Pause(alarm) | Decision::Alert(alarm) = &judgement.decision {
            let acted = acted(&self.look(), alarm);
            self.keep(&acted);
        }
        judgement
    }

    fn keep(&mut self, states: &[GuardrailState]) {
        for new in states {
            match self.states.iter_mut().find(|it| it.key() == new.key()) {
                Some(known) => *known = known.overwritten_by(new),
                None => self.states.push(new.clone()),
            }
        }
    }

    fn resumed(&mut self) {
        self.next_epoch(&[("control", 500_000), ("treatment", 500_000)]);
    }
}

fn pauses(judgement: &Judgement) -> Vec<String> {
    match &judgement.decision {
        Decision::Pause(alarm) => alarm.verdicts.iter().map(|it| it.watched.to_string()).collect(),
        Decision::Nothing => Vec::new(),
        Decision::Alert(_) => panic!("{judgement:?}"),
    }
}

fn finding(judgement: &Judgement, watched: &str) -> Finding {
    judgement.verdicts.iter().find(|it| it.watched.as_str() == watched).unwrap().finding.clone()
}

#[test]
fn harm_pauses_and_harmlessness_does_not() {
    let mut world = World::signups();
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 490, 1);
    let judgement = world.round();
    assert_eq!((pauses(&judgement), finding(&judgement, "signup")), (vec![], Finding::Quiet));
    world.seen("treatment", "signup", 10_000, 350, 1);
    let judgement = world.round();
    assert_eq!(pauses(&judgement), ["signup"]);
    let Decision::Pause(alarm) = &judgement.decision else { panic!() };
    assert_eq!(alarm.xv, 1);
    let words = alarm.verdicts[0].to_string();
    assert!(
        words.starts_with("signup in 'treatment' is 0.035 against 0.05 in the control (-30.0%); p = "),
        "{words}"
    );
}

#[test]
fn an_improvement_never_pauses() {
    let mut world = World::signups();
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 1_500, 1);
    assert_eq!(pauses(&world.round()), [""; 0]);
}

#[test]
fn less_is_better_for_some_metrics() {
    let errors =
        GuardrailMetric { direction: Direction::HigherIsHarm, ..metric("errors", MetricKind::Count) };
    let mut world = World::new(&[errors]);
    world.seen("control", "errors", 5_000, 500, 1);
    world.seen("treatment", "errors", 5_000, 300, 1);
    assert_eq!(pauses(&world.round()), [""; 0]);
    world.seen("treatment", "errors", 5_000, 800, 1);
    assert_eq!(pauses(&world.round()), ["errors"]);
}

#[test]
fn each_kind_is_judged_in_its_way() {
    let ratio = |n: i64, num: i128, den: i128| {
        let spread = i128::from(n);
        Sums {
            n,
            nonzero: n,
            sum: [spread * num, 0, spread * den, 0],
            products: [spread * num * num * 2, 0, spread * num * den, 0, 0, 0, 0, spread * den * den, 0, 0],
        }
    };
    let mut world = World::new(&[metric("per-visit", MetricKind::Ratio)]);
    for arm in ["control", "treatment"] {
        world.put(arm, None, Sums { n: 5_000, ..Sums::default() });
        let num = if arm == "control" { 2_000_000 } else { 1_500_000 };
        world.put(arm, Some("per-visit"), ratio(5_000, num, 1_000_000));
    }
    let judgement = world.round();
    assert_eq!(pauses(&judgement), ["per-visit"]);
    let numbers = &judgement.verdicts[1].detail;
    let value = |arm: Option<Arm>| arm.unwrap().value.unwrap();
    assert_eq!((value(numbers.control), value(numbers.treatment)), (2.0, 1.5));

    let mut world = World::new(&[metric("revenue", MetricKind::Continuous)]);
    world.seen("control", "revenue", 1_500, 300, 20_000_000);
    world.seen("treatment", "revenue", 1_500, 100, 20_000_000);
    let Finding::Waiting(missing) = finding(&world.round(), "revenue") else { panic!() };
    assert_eq!(
        (missing.what.as_str(), missing.have, missing.need),
        ("units", 1_500, 2_000),
        "money waits longer"
    );
    world.seen("control", "revenue", 3_000, 600, 20_000_000);
    world.seen("treatment", "revenue", 3_000, 300, 20_000_000);
    assert_eq!(pauses(&world.round()), ["revenue"]);
}

#[test]
fn how_conversions_are_judged_is_decided_once() {
    let method = |world: &mut World| world.round().verdicts[1].detail.method;
    let mut world = World::signups();
    world.seen("control", "signup", 99, 3, 1);
    world.seen("treatment", "signup", 110, 4, 1);
    assert_eq!(method(&mut world), None);
    world.seen("control", "signup", 110, 4, 1);
    assert_eq!(method(&mut world), Some(Method::ConversionSplit));
    world.seen("control", "signup", 5_100, 3_000, 1);
    world.seen("treatment", "signup", 5_100, 3_000, 1);
    assert_eq!(method(&mut world), Some(Method::ConversionSplit), "kept");
    let mut frequent = World::signups();
    frequent.seen("control", "signup", 100, 30, 1);
    frequent.seen("treatment", "signup", 100, 30, 1);
    assert_eq!(method(&mut frequent), Some(Method::Means));
}

#[test]
fn a_few_units_say_nothing() {
    let mut world = World::signups();
    world.seen("control", "signup", 99, 99, 1);
    world.seen("treatment", "signup", 99, 0, 1);
    let judgement = world.round();
    let Finding::Waiting(missing) = finding(&judgement, "signup") else { panic!("{judgement:?}") };
    assert_eq!((missing.have, missing.need), (99, MIN_UNITS_PER_ARM));
}

#[test]
fn what_has_no_answer_never_pauses() {
    let all = [
        metric("signup", MetricKind::Conversion),
        metric("clicks", MetricKind::Count),
        metric("revenue", MetricKind::Continuous),
        metric("per-visit", MetricKind::Ratio),
    ];
    let empty = World::new(&all);
    let zeros = |mut world: World| {
        for arm in ["control", "treatment"] {
            for metric in &all {
                world.seen(arm, metric.key.as_str(), 100_000, 0, 1);
            }
        }
        world
    };
    let broken = |mut world: World| {
        for arm in ["control", "treatment"] {
            for metric in &all {
                let mut sums = Sums { n: 100_000, nonzero: 200_000, ..Sums::default() };
                sums.sum[0] = i128::MAX;
                sums.products[0] = if arm == "control" { -1 } else { i128::MAX };
                world.put(arm, Some(metric.key.as_str()), sums);
            }
        }
        world
    };
    let negative = |mut world: World| {
        world.put("treatment", None, Sums { n: -5, ..Sums::default() });
        world.put("treatment", Some("signup"), Sums { n: -5, nonzero: -5, ..Sums::default() });
        world
    };
    for mut world in [empty.clone(), zeros(empty.clone()), broken(empty.clone()), negative(empty)] {
        let judgement = world.round();
        assert_eq!(pauses(&judgement), [""; 0]);
        for verdict in &judgement.verdicts {
            assert!(verdict.max_log_e.is_finite() && verdict.finding != Finding::Alarm, "{verdict:?}");
            assert!(verdict.to_json().to_string().len() > 10);
        }
        assert!(world.states.iter().all(|state| state.max_log_e.is_finite() && state.check().is_ok()));
    }
}

#[test]
fn an_alarm_stands_when_later_data_look_better() {
    let mut world = World::signups();
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    assert_eq!(pauses(&world.round()), ["signup"]);
    world.seen("treatment", "signup", 10_000, 600, 1);
    let judgement = world.round();
    assert_eq!(pauses(&judgement), ["signup"], "for as long as it runs under this version");
    assert!(judgement.verdicts[1].detail.log_e.unwrap() < 0.0);
}

#[test]
fn who_resumes_begins_a_new_budget() {
    let mut world = World::signups();
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    world.round();
    world.resumed();
    assert_eq!(pauses(&world.round()), [""; 0], "what was found before is over");
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    assert_eq!(pauses(&world.round()), ["signup"]);
}

#[test]
fn a_new_epoch_without_an_alarm_goes_on_with_the_evidence() {
    let mut world = World::signups();
    world.seen("control", "signup", 5_000, 250, 1);
    world.seen("treatment", "signup", 5_000, 190, 1);
    assert_eq!(pauses(&world.round()), [""; 0]);
    let alone = world.states.iter().find(|it| it.variant.is_some()).unwrap().max_log_e;
    assert!(alone > 1.0, "{alone}");
    world.next_epoch(&[("control", 900_000), ("treatment", 100_000)]);
    world.seen("control", "signup", 9_000, 450, 1);
    world.seen("treatment", "signup", 1_000, 20, 1);
    let judgement = world.round();
    assert_eq!(pauses(&judgement), ["signup"], "together they are enough: {judgement:?}");
}

#[test]
fn epochs_are_not_mixed() {
    let mut world = World::signups();
    world.allocations.clear();
    world.xv = 0;
    // The treatment grows from 10 % to 50 % while the base rate falls: the sums look like harm, the epochs do not.
    world.next_epoch(&[("control", 900_000), ("treatment", 100_000)]);
    world.seen("control", "signup", 90_000, 9_000, 1);
    world.seen("treatment", "signup", 10_000, 1_000, 1);
    world.next_epoch(&[("control", 500_000), ("treatment", 500_000)]);
    world.seen("control", "signup", 50_000, 2_500, 1);
    world.seen("treatment", "signup", 50_000, 2_500, 1);
    let judgement = world.round();
    assert_eq!(pauses(&judgement), [""; 0]);
    let numbers = &judgement.verdicts[1].detail;
    assert_eq!(numbers.control.unwrap().value, numbers.treatment.unwrap().value, "nor for people");
}

#[test]
fn wrong_shares_withhold_verdicts_and_pause_for_that_reason() {
    let mut world = World::signups();
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 8_000, 300, 1);
    let judgement = world.round();
    assert_eq!(
        (pauses(&judgement), judgement.withheld),
        (vec!["~srm".to_owned()], Some(Withheld::SampleRatio))
    );
    assert_eq!(finding(&judgement, "signup"), Finding::Withheld(Withheld::SampleRatio));
    let words = judgement.verdicts[0].to_string();
    assert!(words.contains("8000 units in 'treatment' where 9000 were expected"), "{words}");
    assert!(
        world.states.iter().any(|it| it.watched == Watched::SampleRatio && it.alarmed_at_ms == Some(NOW_MS))
    );
}

#[test]
fn doubtful_shares_silence_the_split_only() {
    let split = metric("signup", MetricKind::Conversion);
    let mut world = World::new(&[split, metric("clicks", MetricKind::Count)]);
    for (arm, n, signups, clicks) in [("control", 10_280, 500, 5_000), ("treatment", 9_700, 350, 3_000)] {
        world.seen(arm, "signup", n, signups, 1);
        world.seen(arm, "clicks", n, clicks, 1);
    }
    let judgement = world.round();
    assert_eq!(finding(&judgement, "~srm"), Finding::Doubtful, "{judgement:?}");
    assert_eq!(finding(&judgement, "signup"), Finding::Withheld(Withheld::SampleRatio));
    assert_eq!(pauses(&judgement), ["clicks"]);
}

#[test]
fn where_variants_stick_only_the_first_shares_are_tested() {
    let mut world = World::signups();
    world.settings.sticky = true;
    world.seen("control", "signup", 1_000, 50, 1);
    world.seen("treatment", "signup", 1_000, 50, 1);
    world.next_epoch(&[("control", 900_000), ("treatment", 100_000)]);
    // Half of those who come for the first time now bring their variant along.
    world.seen("control", "signup", 7_000, 350, 1);
    world.seen("treatment", "signup", 3_000, 150, 1);
    let judgement = world.round();
    assert_eq!(finding(&judgement, "~srm"), Finding::Quiet);
    assert_eq!(judgement.verdicts[1].detail.method, Some(Method::Means));
}

#[test]
fn alerting_instead_of_pausing_tells_once() {
    let mut world = World::signups();
    world.settings.on_harm = OnHarm::Alert;
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    assert!(matches!(world.round().decision, Decision::Alert(_)));
    let again = world.round();
    assert_eq!(again.decision, Decision::Nothing);
    assert_eq!(finding(&again, "signup"), Finding::Alarm);
    world.settings.on_harm = OnHarm::Pause;
    assert_eq!(pauses(&world.round()), ["signup"], "who changes the setting means what still stands");
}

#[test]
fn what_was_interrupted_is_settled_once_it_is_paused() {
    let mut world = World::signups();
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    // The evidence was kept, the pause was made, and the process died.
    let judgement = judge(&world.look());
    world.keep(&judgement.states);
    assert!(world.states.iter().all(|it| it.alarmed_at_ms.is_none()));
    world.running = false;
    assert_eq!(pauses(&world.round()), [""; 0]);
    world.resumed();
    world.running = true;
    assert_eq!(pauses(&world.round()), [""; 0], "the old evidence does not pause again");
}

#[test]
fn levels_are_fixed_at_the_start_and_late_guardrails_draw_on_the_reserve() {
    let mut world = World::new(&[metric("a", MetricKind::Conversion), metric("b", MetricKind::Conversion)]);
    world.settings.treatments.push(variant("other"));
    let weights = |world: &mut World| -> Vec<f64> {
        let judgement = world.round();
        judgement.verdicts.iter().filter_map(|it| it.detail.weight).collect()
    };
    assert_eq!(weights(&mut world), [0.2; 4]);
    world.settings.metrics.push(metric("late", MetricKind::Count));
    let all = weights(&mut world);
    assert!(all[..4].iter().all(|weight| *weight == 0.2));
    assert!(all[4..].iter().all(|weight| (weight - 0.05).abs() < 1e-9), "{all:?}");
    world.settings.metrics.push(metric("later", MetricKind::Count));
    world.settings.metrics.remove(0);
    let all = weights(&mut world);
    assert!((all[4] - 0.025).abs() < 1e-9, "what was given stays given: {all:?}");
    let judgement = world.round();
    let level = judgement.verdicts.last().unwrap().threshold;
    assert!((level - -(0.01_f64 * 0.025).ln()).abs() < 1e-9);
}

#[test]
fn every_treatment_is_watched_and_the_strongest_alarm_comes_first() {
    let mut world = World::signups();
    world.settings.treatments.push(variant("other"));
    world.allocations.clear();
    world.xv = 0;
    world.next_epoch(&[("control", 333_334), ("treatment", 333_333), ("other", 333_333)]);
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    world.seen("other", "signup", 10_000, 250, 1);
    let Decision::Pause(alarm) = world.round().decision else { panic!() };
    let variants: Vec<_> = alarm.verdicts.iter().map(|it| it.variant.clone().unwrap()).collect();
    assert_eq!(variants, [variant("other"), variant("treatment")]);
}

#[test]
fn a_budget_that_makes_no_sense_watches_nothing() {
    let mut world = World::signups();
    world.settings.alpha = 0.6;
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 0, 1);
    let judgement = world.round();
    assert!(matches!(
        finding(&judgement, "signup"),
        Finding::NotComputable(NotComputable::OutOfRange { argument: "alpha", .. })
    ));
    assert_eq!(pauses(&judgement), [""; 0]);
}

#[test]
fn margins_forgive() {
    let mut world = World::signups();
    world.settings.metrics[0].margin = 0.4;
    world.seen("control", "signup", 10_000, 500, 1);
    world.seen("treatment", "signup", 10_000, 350, 1);
    assert_eq!(pauses(&world.round()), [""; 0]);
}

#[test]
fn without_metrics_the_shares_are_watched_all_the_same() {
    let mut world = World::new(&[]);
    world.put("control", None, Sums { n: 10_000, ..Sums::default() });
    world.put("treatment", None, Sums { n: 8_000, ..Sums::default() });
    assert_eq!(pauses(&world.round()), ["~srm"]);
}
