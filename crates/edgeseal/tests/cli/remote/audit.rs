//! `audit tail` shows who did what; `audit verify` notices every way of meddling with the log.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use edgeseal_store::{Actor, AuditEntry, AuditRecord, audit};
use serde_json::{Value, json};

use super::Home;
use super::fake::{Asked, Fake, Reply};
use crate::common::{Finished, edgeseal};

fn chain(length: i64) -> Vec<AuditRecord> {
    let mut newest = audit::GENESIS;
    (0..length)
        .map(|number| {
            let entry = AuditEntry {
                at_ms: 1_800_000_000_000 + number,
                actor: Actor { id: "abc".into(), name: "ada".into() },
                action: "experiment.pause".into(),
                environment: None,
                kind: Some("experiment".into()),
                key: Some(format!("exp-{number}")),
                request: None,
                detail: json!({ "reason": "errors" }),
            };
            let record = audit::link(newest, &entry).unwrap();
            newest = (record.number, record.hash);
            record
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(record: &AuditRecord) -> Value {
    json!({
        "number": record.number,
        "entry": serde_json::from_str::<Value>(&record.entry).unwrap(),
        "canonical": record.entry,
        "previous": hex(&record.previous),
        "hash": hex(&record.hash),
    })
}

/// Serves records as the API does, in pages of at most `page`.
fn serve(records: Vec<Value>, page: usize) -> Fake {
    Fake::start(move |asked, _| {
        let number = |name: &str| asked.parameter(name).map(|text| text.parse::<u64>().unwrap());
        let limit = (number("limit").unwrap() as usize).min(page);
        let of = |record: &&Value| record["number"].as_u64().unwrap();
        let items: Vec<Value> = if asked.is("GET", "/audit/chain") {
            let after = number("after").unwrap();
            records.iter().filter(|record| of(record) > after).take(limit).cloned().collect()
        } else {
            let before = number("before").unwrap_or(u64::MAX);
            records
                .iter()
                .rev()
                .filter(|record| of(record) < before && matches(asked, record))
                .take(limit)
                .cloned()
                .collect()
        };
        Reply::json(200, &json!({ "items": items }))
    })
}

fn matches(asked: &Asked, record: &Value) -> bool {
    asked.parameter("key").is_none_or(|key| record["entry"]["key"] == key)
}

fn verify(records: Vec<Value>, more: &[&str]) -> Finished {
    Home::new().run(&serve(records, 3), &[&["audit", "verify"], more].concat())
}

#[test]
fn a_whole_chain_is_verified_page_by_page_and_its_end_named() {
    let chain = chain(8);
    let newest = format!("8:{}", hex(&chain[7].hash));
    let records: Vec<_> = chain.iter().map(shown).collect();
    let finished = verify(records.clone(), &[]).expect(0);
    assert_eq!(finished.stdout, format!("verified 8 records\n{newest}\n"));
    let json = verify(records.clone(), &["--json"]).expect(0).json();
    assert_eq!((&json["ok"], &json["records"], &json["newest"]), (&json!(true), &json!(8), &json!(newest)));
    let earlier = format!("5:{}", hex(&chain[4].hash));
    verify(records, &["--expect", &earlier, "--expect", &newest]).expect(0);
    assert_eq!(verify(Vec::new(), &[]).expect(0).stdout, "the audit log is empty\n");
}

#[test]
fn meddling_is_noticed_and_the_record_named() {
    let chain = chain(6);
    let newest = format!("6:{}", hex(&chain[5].hash));
    let records = || chain.iter().map(shown).collect::<Vec<_>>();
    let broken = |records: Vec<Value>, more: &[&str], words: &str| {
        let refused = verify(records.clone(), more).expect(1);
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
        let json = verify(records, &[more, &["--json"]].concat()).expect(1).json();
        assert_eq!(json["ok"], false);
    };

    let mut altered = records();
    altered[3]["canonical"] = json!(altered[3]["canonical"].as_str().unwrap().replace("exp-3", "exp-9"));
    broken(altered, &[], "record 4 was altered");

    let mut dressed_up = records();
    dressed_up[3]["entry"]["key"] = json!("exp-9");
    broken(dressed_up, &[], "record 4 shows something else than what was hashed");

    let mut removed = records();
    removed.remove(2);
    broken(removed, &[], "record 3 is missing");

    let mut cut = records();
    cut.truncate(4);
    verify(cut.clone(), &[]).expect(0);
    broken(cut, &["--expect", &newest], "its end was cut off");

    // Written anew as a whole: in itself without a fault, and not what was there before.
    let mut other = audit::GENESIS;
    let rewritten: Vec<_> = chain
        .iter()
        .map(|record| {
            let mut entry: AuditEntry = serde_json::from_str(&record.entry).unwrap();
            entry.actor.name = "mallory".into();
            let record = audit::link(other, &entry).unwrap();
            other = (record.number, record.hash);
            shown(&record)
        })
        .collect();
    verify(rewritten.clone(), &[]).expect(0);
    broken(rewritten, &["--expect", &newest], "record 6 is not the one that was expected");

    let mut no_hash = records();
    no_hash[0]["hash"] = json!("xyz");
    broken(no_hash, &[], "record 1 has no proper hash");
    for bad in ["6", "0:00", "6:zz", &newest[..20]] {
        verify(records(), &["--expect", bad]).expect(2);
    }
}

#[test]
fn the_tail_is_printed_oldest_first() {
    let records: Vec<_> = chain(30).iter().map(shown).collect();
    let (home, fake) = (Home::new(), serve(records, 200));
    let printed = home.run(&fake, &["audit", "tail", "-n", "2"]).expect(0).stdout;
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines[0],
        "    29  2027-01-15 08:00:00  experiment.pause exp-28 by ada  {\"reason\":\"errors\"}"
    );
    assert!(lines.len() == 2 && lines[1].contains("exp-29"), "{printed}");
    let json = home.run(&fake, &["audit", "tail", "--json", "--experiment", "exp-3"]).expect(0).json();
    assert_eq!(json["records"].as_array().unwrap().len(), 1);
    let asked = fake.asked().pop().unwrap();
    assert_eq!((asked.parameter("kind"), asked.parameter("environment")), (Some("experiment"), None));
}

#[test]
fn following_prints_each_new_record_once() {
    let chain: Vec<_> = chain(4).iter().map(shown).collect();
    let fake = Fake::start(move |asked, before| {
        // Two records at first, a third when asked again, then the fourth.
        let shown = chain[..(2 + before).min(4)].iter().rev();
        let limit: usize = asked.parameter("limit").unwrap().parse().unwrap();
        Reply::json(200, &json!({ "items": shown.take(limit).cloned().collect::<Vec<_>>() }))
    });
    let home = Home::new();
    let mut child = edgeseal()
        .args(["audit", "tail", "--follow", "--json", "-n", "1"])
        .args(["--control", &fake.url, "--token-file", &home.token_file])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers: Vec<_> = lines
        .take(3)
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["number"].as_u64().unwrap())
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(numbers, [2, 3, 4]);
}
