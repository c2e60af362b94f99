use edgeseal_core::ids::Environment;
use edgeseal_store::audit::{GENESIS, verify};
use edgeseal_store::{Actor, AuditFilter, AuditRecord};
use serde_json::{Value, json};

use super::{Caller, Query, Scope, filter, operations};
use crate::routes::testing::{Ask, Client};

fn bytes(hex: &Value) -> [u8; 32] {
    let hex = hex.as_str().unwrap();
    let bytes: Vec<u8> =
        (0..32).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[tokio::test]
async fn strangers_can_verify_the_chain_from_what_the_api_shows() {
    let client = Client::new().await;
    for key in ["a", "b", "c"] {
        client.experiment(key).await;
    }
    let (mut newest, mut after, mut seen) = (GENESIS, Some(0), 0);
    while let Some(number) = after {
        let page = client.ok(Ask::get(&format!("/audit/chain?after={number}&limit=2")).by("viewer")).await;
        let records: Vec<AuditRecord> = page.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| AuditRecord {
                number: item["number"].as_u64().unwrap(),
                entry: item["canonical"].as_str().unwrap().to_owned(),
                previous: bytes(&item["previous"]),
                hash: bytes(&item["hash"]),
            })
            .collect();
        newest = verify(newest, &records).unwrap();
        seen += records.len();
        after = page.body["nextAfter"].as_u64();
    }
    assert!(seen >= 5, "two environments and three experiments");
}

#[tokio::test]
async fn pages_lead_into_the_past() {
    let client = Client::new().await;
    let page = client.ok(Ask::get("/audit?limit=1").by("viewer")).await;
    let newest = page.body["items"][0]["number"].as_u64().unwrap();
    assert_eq!(page.body["nextBefore"], json!(newest));
    for bad in ["?before=0", "?limit=201", "?actor=", "?kind=%00", "?after=1", "?environment=a%2Fb"] {
        assert_eq!(client.send(Ask::get(&format!("/audit{bad}")).by("viewer")).await.status, 400, "{bad}");
    }
}

#[test]
fn the_filter_is_what_was_asked_within_what_may_be_seen() {
    let operation = operations().into_iter().find(|operation| operation.id == "listAudit").unwrap();
    let asked = |text: &str, bound: Option<&str>| {
        let caller = Caller {
            actor: Actor { id: "a".into(), name: "a".into() },
            scope: Scope::Viewer,
            environment: bound.map(|name| Environment::parse(name).unwrap()),
            expires_at: None,
        };
        filter(&Query::parse(Some(text), &operation.query).unwrap(), &caller).unwrap()
    };
    let environment = |name: &str| Some(Environment::parse(name).unwrap());
    assert_eq!(asked("", None), AuditFilter::default());
    assert_eq!(asked("", Some("staging")).environment, environment("staging"));
    assert_eq!(asked("environment=staging", None).environment, environment("staging"));
    let all = asked("actor=t1&action=experiment.&kind=experiment&key=e&before=7", None);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!((all.actor, all.action, all.kind), (text("t1"), text("experiment."), text("experiment")));
    assert_eq!((all.key, all.before), (text("e"), Some(7)));
}
