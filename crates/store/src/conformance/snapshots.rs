//! What is published.

use super::*;
use crate::KEPT_SNAPSHOTS;

/// More than are kept with their tokens; the list forgets none.
pub async fn the_newest_is_served_and_all_are_listed(database: &impl Database) {
    let store = with_production(database).await;
    let count = u64::from(KEPT_SNAPSHOTS) + 4;
    for number in 1..=count {
        // Versions may have gaps.
        let mut commit = publishing(&production(), number, number * 2, &format!("snapshot {number}"));
        commit.at = minute(number.cast_signed());
        store.commit(commit).await.unwrap();
    }
    let newest = store.snapshot(&production()).await.unwrap().unwrap();
    assert_eq!((newest.cv, newest.at), (count * 2, minute(count.cast_signed())));
    assert_eq!(newest.token, format!("snapshot {count}"));

    let mut before = None;
    let mut listed = Vec::new();
    loop {
        let page = store.publications(&production(), before, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.cv);
        listed.extend(page);
    }
    let expected: Vec<_> = (1..=count).rev().map(|number| (number * 2, number + 1)).collect();
    assert_eq!(listed.iter().map(|found| (found.cv, found.sequence)).collect::<Vec<_>>(), expected);
    assert!(listed.iter().all(|publication| publication.actor == ada()));
}

/// Another key signs the same content: no new publication.
pub async fn one_that_is_signed_anew_replaces_its_token_only(database: &impl Database) {
    let store = with_production(database).await;
    store.commit(publishing(&production(), 1, 2, "signed once")).await.unwrap();
    let mut anew = publishing(&production(), 2, 2, "signed anew");
    anew.at = minute(5);
    store.commit(anew).await.unwrap();
    let snapshot = store.snapshot(&production()).await.unwrap().unwrap();
    assert_eq!((snapshot.cv, &*snapshot.token, snapshot.at), (2, "signed anew", minute(0)));
    let [publication] = &store.publications(&production(), None, 9).await.unwrap()[..] else { panic!() };
    assert_eq!((publication.at, publication.sequence), (minute(0), 2));
}

/// Head and snapshot cannot disagree about the version.
pub async fn only_the_version_of_its_environment_is_published(database: &impl Database) {
    let store = with_production(database).await;
    let mut commit = publishing(&production(), 1, 2, "a snapshot");
    commit.environment.as_mut().unwrap().cv = 3;
    assert_refused(store.commit(commit).await);
    assert_eq!(store.snapshot(&production()).await.unwrap(), None);
}

/// 16 MiB is the most that a snapshot may have.
pub async fn the_largest_survives(database: &impl Database) {
    let store = with_production(database).await;
    let token: String = "0123456789abcdef".repeat(1 << 20);
    store.commit(publishing(&production(), 1, 2, &token)).await.unwrap();
    assert!(store.snapshot(&production()).await.unwrap().unwrap().token == token);
}
