//! `make demo-guardrail`: a treatment that breaks the checkout, paused before anybody looks.
//!
//! Starts `edgeseal serve --demo` with a guardrail that looks every second, receives alerts on a local port, and sends
//! visitors through the edge: each fetches its token, sees its variant, and sometimes reports an error. In the
//! treatment of 'checkout-button' errors are three times as frequent. Everything else happens by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a demo that fails has to say where")]

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use edgeseal_guardrail::alert::Secret;
use edgeseal_testkit::inbox::{Inbox, Letter};
use edgeseal_testkit::processes::Process;
use reqwest::blocking::Client;
use serde_json::{Value, json};

const EXPERIMENT: &str = "checkout-button";
const METRIC: &str = "checkout-error";
/// How often a visitor's checkout fails, in percent.
const ERRORS_IN_CONTROL: u64 = 4;
const ERRORS_IN_TREATMENT: u64 = 12;
/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);
const SECRET: &str = "whsec_ZGVtby1kZW1vLWRlbW8tZGVtby1kZW1vLWRlbW8=";

fn main() {
    let folder = Folder::new();
    let alerts = receive_alerts(&folder);
    let mut edgeseal = start(&folder);
    let banner = edgeseal.banner();
    let text = |member: &str| banner[member].as_str().unwrap().to_owned();
    let site = Site {
        client: Client::builder().timeout(Duration::from_secs(10)).build().unwrap(),
        edge: text("url"),
        control: text("control"),
        token: text("adminToken"),
    };
    println!("edge {}, control plane {}, a look every second", site.edge, site.control);
    println!(
        "visitors arrive; checkouts fail for {ERRORS_IN_CONTROL}% in 'control' and {ERRORS_IN_TREATMENT}% in 'treatment'\n"
    );

    let started = Instant::now();
    let mut seen = Seen::default();
    let mut said = Instant::now();
    let alert = loop {
        if let Some(letter) = alerts.next(Duration::ZERO) {
            break open(&letter);
        }
        assert!(started.elapsed() < PATIENCE, "no alert within {PATIENCE:?}\n{seen:?}");
        seen.visit(&site);
        if said.elapsed() > Duration::from_secs(1) {
            said = Instant::now();
            println!("{:5.1} s  {seen}  {}", started.elapsed().as_secs_f64(), site.state());
        }
    };
    println!("{:5.1} s  {seen}  {}\n", started.elapsed().as_secs_f64(), site.state());
    println!(
        "the webhook received, signature verified:\n{}\n",
        serde_json::to_string_pretty(&alert).unwrap()
    );
    let audit = site.pause_in_audit_log();
    let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    println!(
        "the audit log says: {} by {}\n  {}\n",
        said(&audit["action"]),
        said(&audit["actor"]["name"]),
        said(&audit["detail"]["reason"])
    );
    assert_eq!(site.state(), "paused");
    let variant = site.variant_of("the next visitor");
    assert_eq!(variant, None, "the edge still serves it");
    println!(
        "the edge serves '{EXPERIMENT}' to nobody any more; `edgeseal experiment resume` would be a person's decision"
    );
}

/// Who was seen so far.
#[derive(Debug, Default)]
struct Seen {
    visitors: u64,
    control: (u64, u64),
    treatment: (u64, u64),
}

impl Seen {
    /// One visitor, from the token to the events.
    fn visit(&mut self, site: &Site) {
        self.visitors += 1;
        let Some((token, variant)) = site.assignment(&format!("visitor-{}", self.visitors)) else { return };
        let (arm, percent) = match variant.as_str() {
            "treatment" => (&mut self.treatment, ERRORS_IN_TREATMENT),
            _ => (&mut self.control, ERRORS_IN_CONTROL),
        };
        arm.0 += 1;
        // Every so many fails; who is every so many is spread evenly.
        let fails = arm.0 * percent / 100 > (arm.0 - 1) * percent / 100;
        arm.1 += u64::from(fails);
        site.tell(&token, fails);
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arm = |(visitors, errors): (u64, u64)| format!("{errors:4} errors of {visitors:5} visitors");
        write!(f, "control {}, treatment {}", arm(self.control), arm(self.treatment))
    }
}

/// The running demo.
struct Site {
    client: Client,
    edge: String,
    control: String,
    token: String,
}

impl Site {
    /// A visitor's token and its variant; `None` when it is not in the experiment.
    fn assignment(&self, unit: &str) -> Option<(String, String)> {
        let url = format!("{}/v1/assignments/{}", self.edge, unit.replace(' ', "%20"));
        let token = self.client.get(url).send().unwrap().error_for_status().unwrap().text().unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&BASE64URL.decode(claims).unwrap()).unwrap();
        let variant = claims["a"][EXPERIMENT]["v"].as_str().map(str::to_owned);
        variant.map(|variant| (token, variant))
    }

    fn variant_of(&self, unit: &str) -> Option<String> {
        self.assignment(unit).map(|(_, variant)| variant)
    }

    fn tell(&self, token: &str, fails: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let id = || uuid::Uuid::now_v7().to_string();
        let mut events =
            vec![json!({ "id": id(), "type": "exposure", "ts": now - 1, "experiment": EXPERIMENT })];
        if fails {
            events.push(json!({ "id": id(), "type": "metric", "ts": now, "metric": METRIC, "value": 1 }));
        }
        let batch = json!({ "token": token, "events": events });
        let answer = self.client.post(format!("{}/v1/events", self.edge)).json(&batch).send().unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().unwrap());
    }

    fn ask(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}/api/v1{path}", self.control)).bearer_auth(&self.token);
        request.send().unwrap().error_for_status().unwrap().json().unwrap()
    }

    fn state(&self) -> String {
        let answer = self.ask(&format!("/experiments/{EXPERIMENT}"));
        let state = answer["state"].as_str().or_else(|| answer["body"]["state"].as_str());
        state.unwrap_or("unknown").to_owned()
    }

    fn pause_in_audit_log(&self) -> Value {
        let page = self.ask("/audit?action=experiment.pause&limit=1");
        page["items"][0]["entry"].clone()
    }
}

fn start(folder: &Folder) -> Process {
    let program = std::env::current_exe().unwrap();
    let program = program.parent().and_then(|it| it.parent()).unwrap().join("edgeseal");
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let (data, url, secret) = (path("data"), path("webhook.url"), path("webhook.secret"));
    let arguments = [
        "serve",
        "--demo",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--control-listen",
        "127.0.0.1:0",
        "--guardrail-interval-ms",
        "1000",
        "--data-dir",
        &data,
        "--alert-webhook-url-file",
        &url,
        "--alert-webhook-secret-file",
        &secret,
    ];
    Process::spawn(&program, arguments)
}

/// Has alerts sent to an inbox, signed with a secret.
fn receive_alerts(folder: &Folder) -> Inbox {
    let inbox = Inbox::start();
    std::fs::write(folder.0.join("webhook.url"), inbox.url()).unwrap();
    std::fs::write(folder.0.join("webhook.secret"), SECRET).unwrap();
    inbox
}

/// Verifies the signature, as any receiver should, and reads what was sent.
fn open(letter: &Letter) -> Value {
    let header = |name: &str| letter.headers[name].as_str();
    let seconds = header("webhook-timestamp").parse().unwrap();
    let expected = Secret::parse(SECRET).unwrap().sign(header("webhook-id"), seconds, &letter.body);
    assert_eq!(header("webhook-signature"), expected, "somebody else sent it");
    serde_json::from_slice(&letter.body).unwrap()
}

/// A directory of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("edgeseal-demo-guardrail-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
