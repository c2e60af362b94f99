use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

async fn rendered(problem: &Problem) -> (Response, Value) {
    let (parts, body) = problem.render(Some("r-1")).into_parts();
    let bytes = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
    (Response::from_parts(parts, ().into_response().into_body()), serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_problem_says_what_happened_to_machines_and_people() {
    let problem = Problem::at(Code::UnknownMember, "/traffik", "unknown member 'traffik'");
    let (response, body) = rendered(&problem).await;
    assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
    assert_eq!((&body["status"], &body["code"]), (&422.into(), &"unknown_member".into()));
    assert_eq!(body["title"], "Unprocessable Entity");
    assert_eq!(body["errors"][0]["pointer"], "/traffik");
    assert_eq!(body["requestId"], "r-1");
}

#[tokio::test]
async fn whoever_may_come_back_is_told_when() {
    let wait = Problem::new(Code::TooManyFailures, "…").retry_after(Duration::from_secs(42));
    assert_eq!(rendered(&wait).await.0.headers()[RETRY_AFTER], "42");
    let busy = Problem::new(Code::TooBusy, "…");
    assert_eq!(rendered(&busy).await.0.headers()[RETRY_AFTER], "1");
    let unknown = Problem::new(Code::Unauthenticated, "…");
    assert!(rendered(&unknown).await.0.headers().contains_key(WWW_AUTHENTICATE));
}

#[test]
fn every_code_has_its_own_word_and_a_refusing_status() {
    let words: BTreeSet<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    assert_eq!(words.len(), Code::ALL.len());
    assert!(Code::ALL.into_iter().all(|code| code.status().as_u16() >= 400));
}

#[test]
fn quotes_are_cut_at_characters() {
    assert_eq!(quote("short"), "short");
    assert_eq!(quote(&"é".repeat(100)), format!("{}…", "é".repeat(64)));
}
