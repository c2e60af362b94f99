//! Events as they are counted.

use std::collections::BTreeMap;

use edgeseal_core::events::FailureCode;
use edgeseal_core::ids::{ExperimentKey, MetricKey, UnitType, VariantKey};
use tokio::task::JoinSet;

use super::events::{batch, event, note, unit};
use super::*;
use crate::{
    Aggregate, AggregateDelta, AggregateKey, Contribution, HealthCount, HealthKey, HealthKind, RollUp,
    RollUpHead, Sums, UnitRef, UnitState, UnitValues,
};

/// Whoever computed on an older sequence gets a conflict, and nothing of the step is there.
pub async fn a_step_is_taken_once(database: &impl Database) {
    let store = with_events(database).await;
    assert_eq!(store.rolled_up(&production()).await.unwrap(), RollUpHead::default());
    let step = full_step(0, 5);
    let head = RollUpHead { sequence: 1, cursor: 5 };
    assert_eq!(store.apply_rollup(&production(), &step).await.unwrap(), head);
    let before = summary(&*store).await;
    // Its acknowledgement was lost, or another process took it as well; or it never was on this store.
    for expected in [0, 2, 99] {
        let again = RollUp { expected, cursor: 9, ..step.clone() };
        let outcome = store.apply_rollup(&production(), &again).await;
        assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
    }
    assert_eq!(summary(&*store).await, before);
    assert_eq!(store.rolled_up(&production()).await.unwrap(), head);
    // A step need not move the cursor to be one.
    let backfill = RollUp { expected: 1, cursor: 5, ..RollUp::default() };
    let head = RollUpHead { sequence: 2, cursor: 5 };
    assert_eq!(database.open().await.apply_rollup(&production(), &backfill).await.unwrap(), head);
    let outcome = store.apply_rollup(&production(), &backfill).await;
    assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
}

/// Two processes that roll up the same events count them once.
pub async fn of_concurrent_steps_one_is_taken(database: &impl Database) {
    const STEPS: u64 = 10;
    let stores = [with_events(database).await, database.open().await];
    let mut tasks = JoinSet::new();
    for worker in 0..4_u32 {
        let store = Arc::clone(&stores[usize::from(worker % 2 == 1)]);
        tasks.spawn(async move {
            let mut taken = 0;
            loop {
                let head = store.rolled_up(&production()).await.unwrap();
                if head.cursor == STEPS {
                    return taken;
                }
                let one = AggregateDelta { key: aggregate_key(None), delta: counted(1) };
                let step = RollUp {
                    expected: head.sequence,
                    cursor: head.cursor + 1,
                    aggregates: vec![one],
                    health: vec![health(0, HealthKind::Exposures, 1)],
                    ..RollUp::default()
                };
                match store.apply_rollup(&production(), &step).await {
                    Ok(_) => taken += 1,
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u64>(), STEPS);
    let [aggregate] = &stores[0].aggregates(&production(), None).await.unwrap()[..] else { panic!() };
    assert_eq!(aggregate.sums, counted(10));
    assert_eq!(stores[0].health(&production(), 0).await.unwrap()[0].count, STEPS);
}

/// Each of the 14 sums, at both ends.
pub async fn aggregates_are_exact_to_the_last_of_128_bits(database: &impl Database) {
    let store = with_events(database).await;
    let mut sums = Sums { n: i64::MAX - 1, nonzero: 3, sum: [0; 4], products: [0; 10] };
    for (place, number) in sums.sum.iter_mut().chain(&mut sums.products).enumerate() {
        let step = i128::try_from(place).unwrap();
        *number = if place % 2 == 0 { i128::MAX - 1 - step } else { i128::MIN + 1 + step };
    }
    let mut small = Sums { n: 1, nonzero: -1, ..Sums::default() };
    small.sum[0] = 1;
    small.sum[1] = -1;
    small.products[9] = 7;
    let delta = |delta| vec![AggregateDelta { key: aggregate_key(Some("revenue")), delta }];
    apply(&*store, RollUp { aggregates: delta(sums), ..RollUp::default() }).await.unwrap();
    // Two of one key in a step are added together.
    let mut twice = delta(small);
    twice.push(AggregateDelta { key: aggregate_key(None), delta: counted(5) });
    twice.extend(delta(Sums { nonzero: -1, ..Sums::default() }));
    apply(&*store, RollUp { aggregates: twice, ..RollUp::default() }).await.unwrap();

    let mut expected = sums.plus(&small).unwrap();
    expected.nonzero = 1;
    let revenue = Aggregate { key: aggregate_key(Some("revenue")), sums: expected };
    let exposed = Aggregate { key: aggregate_key(None), sums: counted(5) };
    let all = store.aggregates(&production(), None).await.unwrap();
    assert_eq!(all, [exposed.clone(), revenue.clone()]);
    assert_eq!(store.aggregates(&production(), Some(&experiment("checkout"))).await.unwrap(), all);
    assert_eq!(store.aggregates(&production(), Some(&experiment("other"))).await.unwrap(), []);

    // Everything taken away again leaves zeros.
    let mut away = Sums::default().minus(&expected).unwrap();
    away.n = -expected.n;
    apply(&*store, RollUp { aggregates: delta(away), ..RollUp::default() }).await.unwrap();
    let all = store.aggregates(&production(), None).await.unwrap();
    assert_eq!(all, [exposed, Aggregate { sums: Sums::default(), ..revenue }]);
}

/// And nothing of the step is there.
pub async fn sums_beyond_their_bits_are_refused(database: &impl Database) {
    let store = with_events(database).await;
    let delta = |delta| AggregateDelta { key: aggregate_key(Some("revenue")), delta };
    let mut most = counted(i64::MAX);
    most.sum[2] = i128::MAX;
    most.products[0] = i128::MIN;
    apply(&*store, RollUp { aggregates: vec![delta(most)], ..RollUp::default() }).await.unwrap();
    let before = summary(&*store).await;

    let mut sum = Sums::default();
    sum.sum[2] = 1;
    let mut product = Sums::default();
    product.products[0] = -1;
    let epoch = AggregateKey { xv: u64::MAX, ..aggregate_key(None) };
    let other = AggregateKey { xv: 9, ..aggregate_key(None) };
    let refused = [
        vec![delta(sum)],
        vec![delta(product)],
        vec![delta(counted(1))],
        vec![delta(most), delta(most)],
        vec![AggregateDelta { key: epoch, delta: counted(1) }],
        vec![AggregateDelta { key: other, delta: counted(-1) }],
    ];
    for aggregates in refused {
        let step = RollUp { aggregates, expected: 1, ..full_step(1, 5) };
        let step = RollUp { cursor: 9, ..step };
        let outcome = store.apply_rollup(&production(), &step).await;
        let refused = matches!(outcome, Err(CommitError::Store(StoreError::Refused { .. })));
        assert!(refused, "{outcome:?} instead of a refusal");
        assert_eq!(summary(&*store).await, before);
    }
}

/// Neither back nor beyond the events that there are.
pub async fn the_cursor_stays_within_the_events(database: &impl Database) {
    let store = with_events(database).await;
    apply(&*store, RollUp { cursor: 7, ..RollUp::default() }).await.unwrap();
    for cursor in [6, 11, u64::MAX] {
        let step = RollUp { expected: 1, cursor, ..RollUp::default() };
        let outcome = store.apply_rollup(&production(), &step).await;
        let refused = matches!(outcome, Err(CommitError::Store(StoreError::Refused { .. })));
        assert!(refused, "{outcome:?} instead of a refusal");
    }
    assert_eq!(store.rolled_up(&production()).await.unwrap(), RollUpHead { sequence: 1, cursor: 7 });
    let nowhere = Environment::parse("nowhere").unwrap();
    assert_eq!(store.rolled_up(&nowhere).await.unwrap(), RollUpHead::default());
    let mut step = RollUp::default();
    step.contributions.push(contribution("checkout", "ada"));
    assert!(store.apply_rollup(&nowhere, &step).await.is_err());
}

/// Read by unit and, in pages, by experiment.
pub async fn contributions_are_replaced_and_read_both_ways(database: &impl Database) {
    let store = with_events(database).await;
    let names: Vec<String> = (0..25).map(|number| format!("unit-{number}")).collect();
    let contributions: Vec<_> = names
        .iter()
        .flat_map(|name| [contribution("checkout", name), contribution("search", name)])
        .collect();
    apply(&*store, RollUp { contributions, ..RollUp::default() }).await.unwrap();
    let mut changed = contribution("checkout", "unit-3");
    (changed.state, changed.drifted, changed.first_ms) = (UnitState::Excluded, true, -1);
    changed.variant = VariantKey::parse("a").unwrap();
    changed.xv = 8;
    let metric = |key| MetricKey::parse(key).unwrap();
    let extreme = UnitValues { y: i128::MAX, x: i128::MIN, d: 0, dx: -1 };
    changed.values = BTreeMap::from([(metric("revenue"), extreme), (metric("z"), UnitValues::default())]);
    let device = UnitRef { unit_type: UnitType::parse("device").unwrap(), ..unit("unit-3") };
    let other = Contribution { unit: device.clone(), ..contribution("checkout", "unit-3") };
    let contributions = vec![changed.clone(), other.clone()];
    apply(&*store, RollUp { contributions, ..RollUp::default() }).await.unwrap();

    let wanted = [unit("unit-3"), unit("nobody"), unit("unit-3")];
    let found = store.contributions(&production(), &wanted, None).await.unwrap();
    assert_eq!(found, [changed.clone(), contribution("search", "unit-3")]);
    let only = [experiment("checkout"), experiment("other")];
    let found = store.contributions(&production(), &wanted, Some(&only)).await.unwrap();
    assert_eq!(found, [changed]);
    assert_eq!(store.contributions(&production(), &wanted, Some(&[])).await.unwrap(), []);
    assert_eq!(store.contributions(&production(), &[device], None).await.unwrap(), [other]);

    let mut after: Option<UnitRef> = None;
    let mut read = Vec::new();
    loop {
        let checkout = experiment("checkout");
        let page = store.contributions_page(&production(), &checkout, after.as_ref(), 7).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.unit.clone());
        read.extend(page);
    }
    assert_eq!(read.len(), 26);
    assert!(read.windows(2).all(|pair| pair[0].unit < pair[1].unit));
    assert!(read.iter().all(|it| it.experiment == experiment("checkout")));

    let twice = vec![contribution("checkout", "ada"), contribution("checkout", "ada")];
    let outcome = apply(&*store, RollUp { contributions: twice, ..RollUp::default() }).await;
    assert!(matches!(outcome, Err(CommitError::Store(StoreError::Refused { .. }))), "{outcome:?}");
}

/// By hour, experiment and kind; read from an hour on.
pub async fn health_adds_up(database: &impl Database) {
    let store = with_events(database).await;
    let failed = HealthKind::VerificationFailed(FailureCode::parse("E_SUBJECT").unwrap());
    let mut first = vec![
        health(1, HealthKind::Exposures, 3),
        health(1, HealthKind::Exposures, 4),
        health(1, HealthKind::Rejected("too_old".into()), 1),
        health(1, HealthKind::Rejected("negative".into()), 1),
        health(2, failed, 5),
    ];
    first[4].key.experiment = None;
    let step = RollUp { health: first.clone(), ..RollUp::default() };
    apply(&*store, step.clone()).await.unwrap();
    apply(&*store, step).await.unwrap();
    let all = store.health(&production(), 0).await.unwrap();
    let counts: Vec<_> = all.iter().map(|it| (it.key.hour_ms, it.key.kind.to_string(), it.count)).collect();
    let kinds = ["exposures", "rejected(negative)", "rejected(too_old)", "verification_failed(E_SUBJECT)"];
    let expected: Vec<_> = [(1, 14), (1, 2), (1, 2), (2, 10)]
        .into_iter()
        .zip(kinds)
        .map(|((hour, count), kind)| (hour, kind.to_owned(), count))
        .collect();
    assert_eq!(counts, expected);
    let late = store.health(&production(), 2).await.unwrap();
    assert_eq!(late, [HealthCount { count: 10, ..first[4].clone() }]);
}

/// Also what a step quarantines, which may be noted already.
pub async fn settings_and_notes_are_written_with_their_step(database: &impl Database) {
    let store = with_events(database).await;
    let settings = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, text)| (experiment(key), (*text).to_owned())).collect::<Vec<_>>()
    };
    let notes = vec![note(Some(1), 1, "unknown_metric", Some("x")), note(Some(2), 1, "negative", None)];
    let step = RollUp {
        settings: settings(&[("b", "{\"a\":\"\\u0000\"}"), ("a", "1")]),
        quarantined: notes.clone(),
        ..RollUp::default()
    };
    apply(&*store, step).await.unwrap();
    let step = RollUp { settings: settings(&[("a", "2")]), quarantined: notes, ..RollUp::default() };
    apply(&*store, step).await.unwrap();
    let expected = settings(&[("a", "2"), ("b", "{\"a\":\"\\u0000\"}")]);
    assert_eq!(store.rollup_settings(&production()).await.unwrap(), expected);
    let counts = [("negative".to_owned(), 1), ("unknown_metric".to_owned(), 1)];
    assert_eq!(store.quarantine_counts(&production()).await.unwrap(), counts);
    let bad = RollUp { settings: settings(&[("a", "\0")]), ..RollUp::default() };
    let outcome = apply(&*store, bad).await;
    assert!(matches!(outcome, Err(CommitError::Store(StoreError::Refused { .. }))), "{outcome:?}");
}

/// A store with ten events.
async fn with_events(database: &impl Database) -> Arc<dyn Store> {
    let store = with_production(database).await;
    let records: Vec<_> = (0..10).map(|number| event(number, "ada")).collect();
    store.append_events(&production(), &batch(&records)).await.unwrap();
    store
}

/// On whatever head there is; the cursor stays at least where it is.
async fn apply(store: &dyn Store, step: RollUp) -> Result<RollUpHead, CommitError> {
    let head = store.rolled_up(&production()).await.unwrap();
    let step = RollUp { expected: head.sequence, cursor: step.cursor.max(head.cursor), ..step };
    store.apply_rollup(&production(), &step).await
}

/// Something of everything.
pub(super) fn full_step(expected: u64, cursor: u64) -> RollUp {
    RollUp {
        expected,
        cursor,
        contributions: vec![contribution("checkout", "ada")],
        aggregates: vec![AggregateDelta { key: aggregate_key(Some("purchase")), delta: counted(1) }],
        health: vec![health(0, HealthKind::Drift, 2)],
        quarantined: vec![note(Some(7), 1, "negative", None)],
        settings: vec![(experiment("checkout"), "{}".into())],
    }
}

/// Everything that a roll-up writes, as text to compare.
pub(super) async fn summary(store: &dyn Store) -> Vec<String> {
    let name = production();
    vec![
        format!("{:?}", store.rolled_up(&name).await.unwrap()),
        format!("{:?}", store.contributions(&name, &[unit("ada")], None).await.unwrap()),
        format!("{:?}", store.aggregates(&name, None).await.unwrap()),
        format!("{:?}", store.health(&name, i64::MIN).await.unwrap()),
        format!("{:?}", store.quarantine_counts(&name).await.unwrap()),
        format!("{:?}", store.rollup_settings(&name).await.unwrap()),
    ]
}

fn contribution(of: &str, name: &str) -> Contribution {
    let values = UnitValues { y: 1_000_000, ..UnitValues::default() };
    Contribution {
        experiment: experiment(of),
        unit: unit(name),
        variant: VariantKey::parse("b").unwrap(),
        xv: 3,
        first_ms: minute(0).unix_ms(),
        state: UnitState::Counted,
        drifted: false,
        values: BTreeMap::from([(MetricKey::parse("purchase").unwrap(), values)]),
    }
}

fn aggregate_key(metric: Option<&str>) -> AggregateKey {
    AggregateKey {
        experiment: experiment("checkout"),
        xv: 3,
        variant: VariantKey::parse("b").unwrap(),
        metric: metric.map(|key| MetricKey::parse(key).unwrap()),
    }
}

fn health(hour_ms: i64, kind: HealthKind, count: u64) -> HealthCount {
    HealthCount { key: HealthKey { hour_ms, experiment: Some(experiment("checkout")), kind }, count }
}

fn counted(n: i64) -> Sums {
    Sums { n, ..Sums::default() }
}

pub(super) fn experiment(key: &str) -> ExperimentKey {
    ExperimentKey::parse(key).unwrap()
}
