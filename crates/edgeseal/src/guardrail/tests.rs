//! The guardrail over real stores and a real HTTP server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use edgeseal_control::{
    Clock, Config as ControlConfig, Context, Control, DocumentBody, EnvironmentState, MasterKey, lifecycle,
};
use edgeseal_core::ids::{Environment, ExperimentKey, MetricKey, VariantKey};
use edgeseal_core::snapshot::ExperimentState;
use edgeseal_core::time::Timestamp;
use edgeseal_guardrail::{AlertBody, Ticked};
use edgeseal_store::{
    AggregateDelta, AggregateKey, AuditFilter, HealthCount, HealthKey, HealthKind, Kind, RollUp, Store, Sums,
    Watched,
};
use edgeseal_testkit::inbox::Inbox;
use edgeseal_testkit::servers::Postgres;
use serde_json::{Value, json};

use super::*;
use crate::databases::Database;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);
const DAY_MS: i64 = 24 * 3_600_000;

/// A directory of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("edgeseal-guardrail-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn database(&self) -> Database {
        Database::Sqlite(self.0.join("edgeseal.db"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// One control plane with its guardrail.
struct Plane {
    control: Arc<Control>,
    guardrail: Guardrail,
}

impl Plane {
    async fn open(database: &Database) -> Self {
        let store = database.open().await.unwrap();
        let config = ControlConfig { clock: Clock::new(|| NOW), ..ControlConfig::default() };
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        let control = Control::new(config, Arc::clone(&store), master, Vec::new());
        let actions = Arc::new(ThroughControl::new(Arc::clone(&control)));
        Self { control, guardrail: Guardrail::new(store, actions, Config::default()) }
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.control.store()
    }

    async fn change(&self, body: Value, kind: Kind) {
        let body = DocumentBody::parse(kind, body).unwrap();
        let decide = |state: &EnvironmentState, _| lifecycle::create(state, body.clone());
        self.control.change(&environment(), &Context::system(), decide).await.unwrap();
    }

    async fn step(&self, step: lifecycle::Transition) {
        let decide = |state: &EnvironmentState, _| lifecycle::transition(state, "e", &step, None, None);
        self.control.change(&environment(), &Context::system(), decide).await.unwrap();
    }

    /// A running experiment that 'signup' guards.
    async fn experiment(&self, analysis: Value) {
        self.control.create_environment(&Context::system(), &environment()).await.unwrap();
        self.change(json!({ "key": "signup", "kind": "conversion" }), Kind::Metric).await;
        let experiment = json!({
            "key": "e",
            "variants": [{ "key": "control" }, { "key": "treatment" }],
            "metrics": { "guardrails": ["signup"] },
            "analysis": analysis,
        });
        self.change(experiment, Kind::Experiment).await;
        self.step(lifecycle::Transition::Start).await;
    }

    /// Adds units of both variants to the totals of an epoch.
    async fn seen(&self, xv: u64, control: (i64, i64), treatment: (i64, i64)) {
        let mut aggregates = Vec::new();
        for (variant, (n, converted)) in [("control", control), ("treatment", treatment)] {
            let key = |metric: Option<&str>| AggregateKey {
                experiment: ExperimentKey::parse("e").unwrap(),
                xv,
                variant: VariantKey::parse(variant).unwrap(),
                metric: metric.map(|key| MetricKey::parse(key).unwrap()),
            };
            let mut sums = Sums { n, nonzero: converted, ..Sums::default() };
            (sums.sum[0], sums.products[0]) = (converted.into(), converted.into());
            aggregates.push(AggregateDelta { key: key(None), delta: Sums { n, ..Sums::default() } });
            aggregates.push(AggregateDelta { key: key(Some("signup")), delta: sums });
        }
        let expected = self.store().rolled_up(&environment()).await.unwrap().sequence;
        let step = RollUp { expected, aggregates, ..RollUp::default() };
        self.store().apply_rollup(&environment(), &step).await.unwrap();
    }

    /// Adds first exposures of this hour, and leaks of other units' tokens.
    async fn leaked(&self, units: u64, leaks: u64) {
        let hour_ms = NOW.unix_ms().div_euclid(3_600_000) * 3_600_000;
        let count = |kind, experiment: Option<&str>, count| {
            let experiment = experiment.map(|key| ExperimentKey::parse(key).unwrap());
            HealthCount { key: HealthKey { hour_ms, experiment, kind }, count }
        };
        let health =
            vec![count(HealthKind::Exposures, Some("e"), units), count(HealthKind::Leak, None, leaks)];
        let expected = self.store().rolled_up(&environment()).await.unwrap().sequence;
        let step = RollUp { expected, health, ..RollUp::default() };
        self.store().apply_rollup(&environment(), &step).await.unwrap();
    }

    async fn tick(&mut self) -> Ticked {
        self.guardrail.tick(NOW).await.unwrap()
    }

    async fn state(&self) -> ExperimentState {
        self.control.state(&environment()).await.unwrap().experiment("e").unwrap().state
    }

    async fn audit(&self, action: &str) -> Vec<Value> {
        let all = self.store().audit(&AuditFilter::default(), 1_000).await.unwrap();
        let entries = all.iter().map(|it| serde_json::from_str::<Value>(&it.entry).unwrap());
        let of = entries.filter(|it| it["action"] == action && it["actor"]["id"] == "guardrail");
        of.map(|mut it| it["detail"].take()).collect()
    }
}

fn environment() -> Environment {
    Environment::default()
}

/// The story of a pause, told by two guardrails at once.
async fn two_guardrails_act_once(database: Database) {
    let (mut one, mut other) = (Plane::open(&database).await, Plane::open(&database).await);
    one.experiment(json!({})).await;
    one.seen(1, (10_000, 500), (10_000, 490)).await;
    assert_eq!(one.tick().await, Ticked { judged: 1, ..Ticked::default() });
    assert_eq!(one.tick().await, Ticked::default(), "nothing is new");

    one.seen(1, (10_000, 500), (10_000, 210)).await;
    let (first, second) = tokio::join!(one.guardrail.tick(NOW), other.guardrail.tick(NOW));
    assert_eq!(first.unwrap().paused + second.unwrap().paused, 1);
    assert_eq!(other.state().await, ExperimentState::Paused);
    let pauses = one.audit("experiment.pause").await;
    assert_eq!(pauses.len(), 1);
    let verdict = &pauses[0]["guardrail"]["verdicts"][0];
    assert_eq!((&verdict["watched"], &verdict["variant"]), (&json!("signup"), &json!("treatment")));
    assert_eq!(verdict["numbers"]["treatment"]["nonzero"], 700);
    assert!(pauses[0]["reason"].as_str().unwrap().starts_with("guardrail: signup in 'treatment' is 0.035"));
    let alerts = one.store().alerts(&environment(), 10).await.unwrap();
    assert_eq!(alerts.len(), 1);
    let body: AlertBody = serde_json::from_str(&alerts[0].alert.body).unwrap();
    assert_eq!((body.kind.as_str(), body.experiment.unwrap().as_str()), ("guardrail.paused", "e"));

    // A person goes on: what was found before pauses nothing, what is found from now on does.
    one.step(lifecycle::Transition::Resume).await;
    for plane in [&mut one, &mut other] {
        assert_eq!(plane.tick().await, Ticked { judged: 1, ..Ticked::default() });
    }
    assert_eq!(other.state().await, ExperimentState::Running);
    one.seen(2, (10_000, 500), (10_000, 350)).await;
    assert_eq!(other.tick().await.paused, 1);
    assert_eq!(one.tick().await.paused, 0);
    let states = one.store().guardrail_states(&environment()).await.unwrap();
    let alarmed = states.iter().filter(|it| it.alarmed_at_ms.is_some()).map(|it| (it.xv, it.watched.clone()));
    let signup = Watched::Metric(MetricKey::parse("signup").unwrap());
    assert_eq!(alarmed.collect::<Vec<_>>(), [(1, signup.clone()), (2, signup)]);
}

#[tokio::test]
async fn two_guardrails_act_once_on_sqlite() {
    let folder = Folder::new();
    two_guardrails_act_once(folder.database()).await;
}

#[tokio::test]
async fn two_guardrails_act_once_on_postgres() {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    let database = Database::Postgres(url);
    database.migrate().await.unwrap();
    two_guardrails_act_once(database).await;
}

#[tokio::test]
async fn who_only_wants_to_be_told_is_told_once() {
    let folder = Folder::new();
    let (mut one, mut other) = (Plane::open(&folder.database()).await, Plane::open(&folder.database()).await);
    one.experiment(json!({ "on_harm": "alert" })).await;
    one.seen(1, (10_000, 500), (10_000, 350)).await;
    one.tick().await;
    other.tick().await;
    one.seen(1, (10, 0), (10, 0)).await;
    one.tick().await;
    assert_eq!(one.state().await, ExperimentState::Running);
    assert_eq!(one.store().alerts(&environment(), 10).await.unwrap().len(), 1);
    assert_eq!(one.audit("guardrail.alert").await.len(), 1);
}

#[tokio::test]
async fn leaks_alert_and_pause_only_what_asks_for_it() {
    for (analysis, pauses) in [(json!({}), 0), (json!({ "on_health": "pause" }), 1)] {
        let folder = Folder::new();
        let (mut one, mut other) =
            (Plane::open(&folder.database()).await, Plane::open(&folder.database()).await);
        one.experiment(analysis).await;
        one.leaked(2_000, 2).await;
        assert_eq!(one.tick().await.paused, 0, "a thousandth is tolerated");
        one.leaked(10, 1).await;
        assert_eq!(one.tick().await.paused + other.tick().await.paused, pauses);
        let alerts = one.store().alerts(&environment(), 10).await.unwrap();
        assert_eq!(alerts.len() as u64, 1 + pauses, "{alerts:?}");
        let said = one.audit("experiment.pause").await;
        assert_eq!(said.len() as u64, pauses);
        for said in &said {
            assert_eq!(said["guardrail"]["health"]["count"], 3);
            assert!(said["reason"].as_str().unwrap().contains("leaks"), "{said}");
        }
        if pauses > 0 {
            // A person goes on: what was reported before pauses nothing any more.
            one.step(lifecycle::Transition::Resume).await;
            one.leaked(10, 1).await;
            assert_eq!(one.tick().await.paused + other.tick().await.paused, 0);
        }
        assert_eq!(one.state().await, ExperimentState::Running);
    }
}

#[tokio::test]
async fn an_alert_is_sent_again_until_it_arrives_and_to_nobody_twice() {
    let folder = Folder::new();
    let mut plane = Plane::open(&folder.database()).await;
    plane.experiment(json!({})).await;
    plane.seen(1, (10_000, 500), (10_000, 350)).await;
    assert_eq!(plane.tick().await.paused, 1);

    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let (webhook, slack) = (Inbox::answering(&[503, 500, 204]), Inbox::start());
    let channels = vec![
        Channel::Webhook { url: webhook.url().to_owned(), secret: secret.clone() },
        Channel::Slack { url: SecretText::new(slack.url()) },
    ];
    let mut outbox = Outbox::new(Arc::clone(plane.store()), Arc::new(HttpSender::new().unwrap()), channels);
    let alert = || async { plane.store().alerts(&environment(), 1).await.unwrap().remove(0) };
    let mut now = NOW;
    for (attempt, delivered) in [(1, 0), (2, 0), (3, 1)] {
        assert_eq!(outbox.tick(now).await.unwrap(), delivered);
        let left = alert().await;
        assert_eq!(left.attempts, attempt);
        if delivered == 0 {
            assert!(left.error.unwrap().starts_with("webhook: answered 50"));
            assert_eq!(outbox.tick(now).await.unwrap(), 0, "not before it is due");
            now = Timestamp::from_unix_ms(left.next_at_ms.unwrap());
        }
    }
    assert_eq!(alert().await.delivered_at_ms, Some(now.unix_ms()));

    let id = alert().await.alert.id;
    let letters = |inbox: &Inbox| std::iter::from_fn(|| inbox.next(Duration::ZERO)).collect::<Vec<_>>();
    let at_webhook = letters(&webhook);
    for letter in &at_webhook {
        assert_eq!(letter.headers["webhook-id"], id, "a repetition is known by its id");
        let seconds = letter.headers["webhook-timestamp"].parse().unwrap();
        assert_eq!(letter.headers["webhook-signature"], secret.sign(&id, seconds, &letter.body));
        assert_eq!(serde_json::from_slice::<Value>(&letter.body).unwrap()["type"], "guardrail.paused");
    }
    assert_eq!((at_webhook.len(), letters(&slack).len()), (3, 1));
}

#[tokio::test]
async fn an_alert_that_never_arrives_is_given_up_after_a_day() {
    let folder = Folder::new();
    let mut plane = Plane::open(&folder.database()).await;
    plane.experiment(json!({})).await;
    plane.seen(1, (10_000, 500), (10_000, 350)).await;
    plane.tick().await;
    let slack = Inbox::answering(&[500]);
    let channels = vec![Channel::Slack { url: SecretText::new(slack.url()) }];
    let mut outbox = Outbox::new(Arc::clone(plane.store()), Arc::new(HttpSender::new().unwrap()), channels);
    let late = Timestamp::from_unix_ms(NOW.unix_ms() + DAY_MS);
    assert_eq!(outbox.tick(late).await.unwrap(), 0);
    let left = plane.store().alerts(&environment(), 1).await.unwrap().remove(0);
    assert_eq!((left.next_at_ms, left.delivered_at_ms), (None, None));
    assert!(!left.error.unwrap().contains(slack.url()), "the address is a secret");
}

#[test]
fn addresses_are_checked_without_repeating_them() {
    let file = Path::new("slack.url");
    for good in ["https://hooks.slack.com/services/T0/B0/x", "http://127.0.0.1:9/x", "http://localhost/x"] {
        assert!(address(good, file).is_ok(), "{good}");
    }
    for bad in ["", "hooks.slack.com/secret", "http://example.com/secret", "file:///secret", "ftp://h/secret"]
    {
        let error = address(bad, file).unwrap_err().error.to_string();
        assert!(error.contains("slack.url") && !error.contains("secret"), "{error}");
    }
}
