use edgeseal_store::AuditRecord;
use edgeseal_store::audit::{GENESIS, verify};
use serde_json::{Value, json};

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
async fn the_log_can_be_filtered_and_paged() {
    let client = Client::new().await;
    client.experiment("a").await;
    client.experiment("b").await;
    let items = |path: &'static str| async {
        let told = client.ok(Ask::get(path).by("viewer")).await;
        told.body["items"].as_array().unwrap().len()
    };
    assert_eq!(items("/audit?action=experiment.").await, 2);
    assert_eq!(items("/audit?action=experiment.create&key=a").await, 1);
    assert_eq!(items("/audit?action=experiment").await, 0);
    assert_eq!(items("/audit?environment=staging").await, 1);
    let page = client.ok(Ask::get("/audit?limit=1").by("viewer")).await;
    let before = page.body["nextBefore"].as_u64().unwrap();
    let next = client.ok(Ask::get(&format!("/audit?limit=1&before={before}")).by("viewer")).await;
    assert_eq!(next.body["items"][0]["number"], json!(before - 1));
    for bad in ["?before=0", "?limit=201", "?actor=", "?kind=%00", "?after=1"] {
        assert_eq!(client.send(Ask::get(&format!("/audit{bad}")).by("viewer")).await.status, 400, "{bad}");
    }
}
