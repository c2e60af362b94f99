use serde_json::json;

use super::*;

fn body(summary: &str) -> AlertBody {
    AlertBody {
        format: ALERT_FORMAT,
        kind: "guardrail.paused".into(),
        at_ms: 1_764_000_000_000,
        environment: Environment::default(),
        experiment: Some(ExperimentKey::parse("checkout-button").unwrap()),
        severity: Severity::Critical,
        summary: summary.into(),
        detail: json!({ "xv": 3 }),
    }
}

fn sent(request: &Outgoing) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// The example of the specification's own libraries.
#[test]
fn signatures_are_those_of_standard_webhooks() {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_eq!(format!("{secret:?}"), "Secret(redacted)");
}

#[test]
fn what_is_no_secret_is_refused() {
    for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_?"] {
        assert_eq!(Secret::parse(text).unwrap_err(), SecretError, "{text}");
    }
}

#[test]
fn a_webhook_is_signed_over_what_is_sent() {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let channel = Channel::Webhook { url: "http://localhost/hook".into(), secret: secret.clone() };
    let request = channel.request("msg_1", &body("it does harm"), Timestamp::from_unix_ms(1_764_000_001_500));
    let header = |name| request.headers.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    assert_eq!((header("webhook-id"), header("webhook-timestamp")), ("msg_1".into(), "1764000001".into()));
    assert_eq!(header("webhook-signature"), secret.sign("msg_1", 1_764_000_001, &request.body));
    let sent = sent(&request);
    assert_eq!(sent["type"], "guardrail.paused");
    assert_eq!(sent["timestamp"], "2025-11-24T16:00:00Z");
    assert_eq!(sent["data"]["experiment"], "checkout-button");
    assert_eq!(sent["data"]["detail"], json!({ "xv": 3 }));
}

#[test]
fn slack_gets_text_and_blocks_within_its_bounds() {
    let channel = Channel::Slack { url: SecretText::new("http://localhost/T0/B0/secret") };
    let request = channel.request("msg_1", &body("a < b & so on"), Timestamp::default());
    let message = sent(&request);
    assert!(message["text"].as_str().unwrap().contains("a &lt; b &amp; so on"), "{message}");
    assert_eq!(message["blocks"][0]["text"]["text"], "production/checkout-button: paused by the guardrail");
    let long = channel.request("msg_1", &body(&"é".repeat(9_000)), Timestamp::default());
    let length =
        |block: usize| sent(&long)["blocks"][block]["text"]["text"].as_str().unwrap().chars().count();
    assert!(length(0) <= 150 && length(1) <= 3_000);
    assert!(!format!("{channel:?}").contains("secret"), "the address is a secret");
}

#[test]
fn pagerduty_gets_a_trigger_event() {
    let channel = Channel::PagerDuty { url: PAGERDUTY_URL.into(), routing_key: SecretText::new("key") };
    let event = sent(&channel.request("msg_1", &body(&"x".repeat(2_000)), Timestamp::default()));
    assert_eq!((&event["routing_key"], &event["event_action"]), (&json!("key"), &json!("trigger")));
    assert_eq!(event["dedup_key"], "edgeseal/guardrail.paused/production/checkout-button");
    let payload = &event["payload"];
    assert!(payload["summary"].as_str().unwrap().len() <= 1_024);
    for (member, value) in [
        ("source", "edgeseal"),
        ("severity", "critical"),
        ("timestamp", "2025-11-24T16:00:00Z"),
        ("component", "checkout-button"),
        ("group", "production"),
        ("class", "guardrail.paused"),
    ] {
        assert_eq!(payload[member], value, "{member}");
    }
    assert_eq!(payload["custom_details"], json!({ "xv": 3 }));
}

#[test]
fn the_same_occasion_has_the_same_id_and_another_one_another() {
    let id = |occasion: &[&str]| body("x").into_once(occasion).id;
    assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
    assert_ne!(id(&["a", "b"]), id(&["ab"]));
    assert_ne!(body("x").into_new().id, body("x").into_new().id);
    let kept = body("x").into_new();
    assert_eq!(serde_json::from_str::<AlertBody>(&kept.body).unwrap(), body("x"));
}
