//! Many committers at once, through two handles, as two control planes would have.

use std::collections::BTreeSet;

use serde_json::json;
use tokio::task::JoinSet;

use super::*;

/// Each adds a document; whoever loses reads again and tries again.
pub async fn none_of_many_committers_is_lost(database: &impl Database) {
    const COMMITTERS: u64 = 32;
    let stores = [with_production(database).await, database.open().await];
    let mut tasks = JoinSet::new();
    for committer in 0..COMMITTERS {
        let store = Arc::clone(&stores[usize::from(committer % 2 == 1)]);
        tasks.spawn(async move {
            loop {
                let read = store.sequence(&production()).await.unwrap().unwrap();
                let own = document(Kind::Experiment, &format!("e{committer}"), json!(committer));
                let shared = document(Kind::Group, "shared", json!(committer));
                let mut commit = writing_documents(&production(), read, vec![own, shared]);
                commit.audit = vec![entry("experiment.create")];
                match store.commit(commit).await {
                    Ok(sequence) => {
                        assert_eq!(sequence, read + 1);
                        return sequence;
                    }
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let sequences: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(sequences, (2..COMMITTERS + 2).collect());

    let documents = stores[0].documents_since(&production(), 0).await.unwrap();
    assert_eq!(documents.len() as u64, COMMITTERS + 1);
    assert_eq!(documents.iter().find(|document| document.key == "shared").unwrap().revision, COMMITTERS);
    assert_eq!(stores[1].audit_after(0, 99).await.unwrap().len() as u64, COMMITTERS);
}

/// Versions of snapshots follow one another without a gap, each signed by one committer.
pub async fn two_handles_never_publish_one_version_twice(database: &impl Database) {
    const VERSIONS: u64 = 12;
    let stores = [with_production(database).await, database.open().await];
    let mut tasks = JoinSet::new();
    for store in stores.clone() {
        tasks.spawn(async move {
            let mut published = Vec::new();
            loop {
                let head = store.head(&production()).await.unwrap().unwrap();
                if head.cv > VERSIONS {
                    return published;
                }
                let cv = head.cv + 1;
                match store.commit(publishing(&production(), head.sequence, cv, &cv.to_string())).await {
                    Ok(_) => published.push(cv),
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let mut published = tasks.join_all().await.concat();
    published.sort_unstable();
    assert_eq!(published, (2..=VERSIONS + 1).collect::<Vec<_>>());
    let listed = stores[0].publications(&production(), None, 99).await.unwrap();
    assert!(listed.windows(2).all(|pair| pair[0].sequence > pair[1].sequence && pair[0].cv > pair[1].cv));
}

/// Nobody conflicts who does not share an environment.
pub async fn environments_do_not_hinder_one_another(database: &impl Database) {
    let store = database.open().await;
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let name = Environment::parse(&format!("env-{number}")).unwrap();
            store.commit(creation(&name)).await.unwrap();
            for sequence in 1..=5 {
                let mut commit = writing(&name, sequence);
                commit.audit = vec![entry("layer.create")];
                store.commit(commit).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let environments = store.environments().await.unwrap();
    assert!(environments.len() == 8 && environments.iter().all(|record| record.head.sequence == 6));
}
