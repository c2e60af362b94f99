//! What the guardrail found, whom it tells, and what it showed.

use edgeseal_core::ids::{MetricKey, UnitType, VariantKey};
use tokio::task::JoinSet;

use super::rollups::experiment;
use super::*;
use crate::{Allocation, AllocationWrite, GuardrailState, IntervalPoint, NewAlert, Watched};

/// Whatever is written over them, by whom, and in which order.
pub async fn alarms_and_evidence_stay(database: &impl Database) {
    let stores = [with_production(database).await, database.open().await];
    let fresh = GuardrailState {
        experiment: experiment("checkout"),
        xv: 2,
        watched: Watched::Metric(MetricKey::parse("revenue").unwrap()),
        variant: Some(variant("b")),
        max_log_e: f64::NEG_INFINITY,
        alarmed_at_ms: None,
        detail: "{\"n\":0}".into(),
        checked_at_ms: 10,
    };
    let save = async |place: usize, state: &GuardrailState| {
        stores[place].save_guardrail_states(&production(), std::slice::from_ref(state)).await.unwrap();
        let [kept] = &stores[1 - place].guardrail_states(&production()).await.unwrap()[..] else { panic!() };
        kept.clone()
    };
    assert_eq!(save(0, &fresh).await, fresh);
    let alarmed = GuardrailState {
        max_log_e: 4.700_000_000_000_001,
        alarmed_at_ms: Some(20),
        detail: "{\"n\":9}".into(),
        checked_at_ms: 20,
        ..fresh.clone()
    };
    assert_eq!(save(1, &alarmed).await, alarmed);
    // Another guardrail, behind the times.
    let late = GuardrailState { max_log_e: 1.0, checked_at_ms: 15, ..fresh.clone() };
    assert_eq!(save(0, &late).await, alarmed);
    // The evidence fades, the alarm is raised again: both are later, neither undoes it.
    let faded =
        GuardrailState { max_log_e: -3.0, checked_at_ms: 30, detail: "{\"n\":10}".into(), ..fresh.clone() };
    let expected = GuardrailState { checked_at_ms: 30, detail: "{\"n\":10}".into(), ..alarmed.clone() };
    assert_eq!(save(1, &faded).await, expected);
    let again = GuardrailState { alarmed_at_ms: Some(31), max_log_e: 5.0, checked_at_ms: 31, ..faded };
    let expected = GuardrailState { alarmed_at_ms: Some(20), ..again.clone() };
    assert_eq!(save(0, &again).await, expected);

    let refused = GuardrailState { max_log_e: f64::NAN, ..fresh.clone() };
    let both = [GuardrailState { max_log_e: 99.0, ..fresh.clone() }, refused];
    let outcome = stores[0].save_guardrail_states(&production(), &both).await;
    assert!(matches!(outcome, Err(StoreError::Refused { .. })), "{outcome:?}");
    assert_eq!(stores[0].guardrail_states(&production()).await.unwrap(), [expected]);
}

/// By experiment, epoch, what is watched and variant; also when one call writes one of them twice.
pub async fn states_are_told_apart(database: &impl Database) {
    let store = with_production(database).await;
    let state = |watched: Watched, of: Option<&str>, xv: u64, max_log_e: f64| GuardrailState {
        experiment: experiment("checkout"),
        xv,
        watched,
        variant: of.map(variant),
        max_log_e,
        alarmed_at_ms: None,
        detail: "{}".into(),
        checked_at_ms: 1,
    };
    // A metric may have the name of a check.
    let srm = Watched::Metric(MetricKey::parse("srm").unwrap());
    let states = [
        state(srm, Some("b"), 1, 1.0),
        state(Watched::Drift, None, 1, 2.0),
        state(Watched::Leak, None, 1, f64::INFINITY),
        state(Watched::SampleRatio, None, 1, f64::MIN_POSITIVE),
        state(Watched::Verification, Some("b"), 1, 5.0),
        state(Watched::Verification, Some("b"), i64::MAX.cast_unsigned(), 6.0),
    ];
    let mut written = states.to_vec();
    written.push(state(Watched::Verification, Some("b"), 1, 4.0));
    written.reverse();
    store.save_guardrail_states(&production(), &written).await.unwrap();
    assert_eq!(store.guardrail_states(&production()).await.unwrap(), states);
    let staging = Environment::parse("staging").unwrap();
    assert_eq!(store.guardrail_states(&staging).await.unwrap(), []);
}

/// With what they tell about, or not at all.
pub async fn alerts_are_written_with_their_commit(database: &impl Database) {
    let store = with_production(database).await;
    let alert = alert("a");
    let commit = Commit { alerts: vec![alert.clone()], ..writing(&production(), 9) };
    assert_conflict(store.commit(commit).await);
    assert_eq!(store.alerts(&production(), 9).await.unwrap(), []);

    let commit = Commit { alerts: vec![alert.clone()], at: minute(1), ..writing(&production(), 1) };
    assert_eq!(store.commit(commit).await.unwrap(), 2);
    let [kept] = &store.alerts(&production(), 9).await.unwrap()[..] else { panic!() };
    assert_eq!((&kept.alert, kept.at_ms, kept.attempts), (&alert, minute(1).unix_ms(), 0));
    assert_eq!((kept.next_at_ms, kept.delivered_at_ms), (Some(minute(1).unix_ms()), None));

    // Taken ids are a conflict: whoever repeats a commit does not alert twice.
    let commit = Commit { alerts: vec![alert], ..writing(&production(), 2) };
    assert_conflict(store.commit(commit).await);
    assert_eq!(store.sequence(&production()).await.unwrap(), Some(2));
    let commit = Commit { alerts: vec![NewAlert { body: "\0".into(), ..self::alert("b") }], ..nothing() };
    assert_refused(store.commit(commit).await);
}

/// However many ask at once.
pub async fn an_alert_is_taken_by_one_until_its_lease_ends(database: &impl Database) {
    const ALERTS: usize = 24;
    let stores = [with_production(database).await, database.open().await];
    let names: Vec<String> = (0..ALERTS).map(|number| format!("alert-{number:02}")).collect();
    for (name, at) in names.iter().zip(0..) {
        let commit = Commit { alerts: vec![alert(name)], at: minute(at), ..nothing() };
        stores[0].commit(commit).await.unwrap();
    }
    let now = minute(ALERTS as i64 - 1).unix_ms();
    let mut tasks = JoinSet::new();
    for worker in 0..6_usize {
        let store = Arc::clone(&stores[worker % 2]);
        tasks.spawn(async move { store.take_due_alerts(now, 4, 1_000).await.unwrap() });
    }
    let mut taken = tasks.join_all().await.concat();
    // PostgreSQL passes over what somebody else is about to take.
    taken.extend(stores[0].take_due_alerts(now, 99, 1_000).await.unwrap());
    assert!(taken.iter().all(|it| it.attempts == 1 && it.next_at_ms == Some(now + 1_000)));
    let mut ids: Vec<_> = taken.into_iter().map(|it| it.alert.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, names);
    assert_eq!(stores[1].take_due_alerts(now + 999, 99, 1_000).await.unwrap(), []);
    let again = stores[1].take_due_alerts(now + 1_000, 3, 1_000).await.unwrap();
    let ids: Vec<_> = again.iter().map(|it| (&*it.alert.id, it.attempts)).collect();
    assert_eq!(ids, [("alert-00", 2), ("alert-01", 2), ("alert-02", 2)]);
}

/// Until it is delivered or given up; whoever lost the lease has no say.
pub async fn a_failed_alert_is_due_again(database: &impl Database) {
    let store = with_production(database).await;
    let alerts = ["a", "b"].map(alert);
    store.commit(Commit { alerts: alerts.to_vec(), at: minute(0), ..nothing() }).await.unwrap();
    let now = minute(0).unix_ms();
    let due = async |at: i64| {
        let taken = store.take_due_alerts(now + at, 9, 100).await.unwrap();
        taken.into_iter().map(|it| (it.alert.id, it.attempts, it.error)).collect::<Vec<_>>()
    };
    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert_eq!(due(-1).await, []);
    assert_eq!(due(0).await, [(a.clone(), 1, None), (b.clone(), 1, None)]);
    store.alert_failed("a", 1, Some(now + 50), "HTTP 503\0").await.unwrap();
    store.alert_delivered("b", now + 1).await.unwrap();
    assert_eq!(due(49).await, []);
    assert_eq!(due(50).await, [(a.clone(), 2, Some("HTTP 503\u{fffd}".to_owned()))]);
    // The first attempt's worker comes back late: the second one holds the lease.
    store.alert_failed("a", 1, None, "too late").await.unwrap();
    store.alert_failed("b", 1, Some(now), "too late").await.unwrap();
    store.alert_failed("none", 1, Some(now), "nothing").await.unwrap();
    store.alert_delivered("none", now).await.unwrap();
    assert_eq!(due(150).await.len(), 1);
    store.alert_failed("a", 3, None, "gave up").await.unwrap();
    assert_eq!(due(9_999).await, []);

    let kept = store.alerts(&production(), 9).await.unwrap();
    assert_eq!(kept.iter().map(|it| &*it.alert.id).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((kept[0].delivered_at_ms, kept[0].next_at_ms, &kept[0].error), (Some(now + 1), None, &None));
    assert_eq!((kept[1].delivered_at_ms, kept[1].next_at_ms), (None, None));
    assert_eq!((kept[1].attempts, kept[1].error.as_deref()), (3, Some("gave up")));

    store.commit(Commit { alerts: vec![alert("c")], at: minute(0), ..nothing() }).await.unwrap();
    store.forget_alerts(now).await.unwrap();
    assert_eq!(store.alerts(&production(), 9).await.unwrap().len(), 3);
    store.forget_alerts(now + 1).await.unwrap();
    let kept = store.alerts(&production(), 9).await.unwrap();
    assert_eq!(kept.iter().map(|it| &*it.alert.id).collect::<Vec<_>>(), ["c"]);
}

/// With the snapshot that divides so, or not at all.
pub async fn allocations_are_written_with_their_commit(database: &impl Database) {
    let store = with_production(database).await;
    let write = |xv, at, shares: [u32; 2]| AllocationWrite {
        experiment: experiment("checkout"),
        xv,
        at: minute(at),
        unit_type: UnitType::parse("device").unwrap(),
        shares: vec![(variant("b"), shares[0]), (variant("a.1"), shares[1])],
    };
    let commit = |expected, allocations| {
        let mut commit = writing(&production(), expected);
        commit.environment.as_mut().unwrap().allocations = allocations;
        commit
    };
    assert_conflict(store.commit(commit(7, vec![write(1, 1, [1, 1])])).await);
    assert_refused(store.commit(commit(1, vec![write(1, 1, [1, 1]), write(1, 2, [1, 1])])).await);
    assert_refused(store.commit(commit(1, vec![write(u64::MAX, 1, [1, 1])])).await);
    let checkout = experiment("checkout");
    assert_eq!(store.allocations(&production(), &checkout).await.unwrap(), []);

    store.commit(commit(1, vec![write(2, 2, [5_000, 5_000]), write(1, 1, [0, u32::MAX])])).await.unwrap();
    store.commit(commit(2, vec![write(2, 9, [100, 9_900])])).await.unwrap();
    let expected = |xv, at, shares| {
        let AllocationWrite { unit_type, shares, .. } = write(xv, at, shares);
        Allocation { xv, at_ms: minute(at).unix_ms(), unit_type, shares }
    };
    // An epoch that is written again began when it began.
    let expected = [expected(1, 1, [0, u32::MAX]), expected(2, 2, [100, 9_900])];
    assert_eq!(store.allocations(&production(), &checkout).await.unwrap(), expected);
    assert_eq!(store.allocations(&production(), &experiment("other")).await.unwrap(), []);
}

/// Oldest first, one for each moment.
pub async fn intervals_are_kept_over_time(database: &impl Database) {
    let store = with_production(database).await;
    let point = |of: &str, at_ms, body: &str| IntervalPoint {
        experiment: experiment(of),
        metric: MetricKey::parse("revenue").unwrap(),
        variant: variant("b"),
        at_ms,
        body: body.to_owned(),
    };
    let points = [point("checkout", 3, "3"), point("checkout", 1, "1"), point("search", 1, "x")];
    store.append_interval_points(&production(), &points).await.unwrap();
    let points = [point("checkout", 3, "4"), point("checkout", 2, "2"), point("checkout", 3, "5")];
    store.append_interval_points(&production(), &points).await.unwrap();
    let read = async |since, limit| {
        let checkout = experiment("checkout");
        let points = store.interval_points(&production(), &checkout, since, limit).await.unwrap();
        points.into_iter().map(|point| (point.at_ms, point.body)).collect::<Vec<_>>()
    };
    let expected = [(1, "1"), (2, "2"), (3, "5")].map(|(at, body)| (at, body.to_owned()));
    assert_eq!(read(0, 99).await, expected);
    assert_eq!(read(2, 1).await, expected[1..2]);
    let outcome = store.append_interval_points(&production(), &[point("checkout", 9, "\0")]).await;
    assert!(matches!(outcome, Err(StoreError::Refused { .. })), "{outcome:?}");
    assert_eq!(read(0, 99).await, expected);
}

pub(super) fn alert(id: &str) -> NewAlert {
    NewAlert {
        id: id.to_owned(),
        environment: production(),
        experiment: Some(experiment("checkout")),
        kind: "guardrail.paused".into(),
        body: "{\"a\":1}".into(),
    }
}

fn variant(key: &str) -> VariantKey {
    VariantKey::parse(key).unwrap()
}
