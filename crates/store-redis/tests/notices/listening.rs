//! What a subscription says.

use super::*;

#[tokio::test]
async fn what_was_announced_before_is_news_at_once() {
    let world = World::new(Redis::start());
    let news = set(1, 2, 3, 400);
    world.announce(&news).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    assert_eq!(*expect_news(&mut subscription).await, documents_of(&news));
}

#[tokio::test]
async fn before_anything_was_announced_the_caller_has_to_poll() {
    let world = World::new(Redis::start());
    let mut subscription = world.subscribe();
    let trouble = expect_lost(&mut subscription).await;
    assert!(trouble.contains(&world.key) && trouble.contains("empty"), "{trouble}");
    world.announce(&set(1, 1, 1, 100)).await;
    expect_back(&mut subscription).await;
    assert_eq!(*expect_news(&mut subscription).await, documents_of(&set(1, 1, 1, 100)));
}

#[tokio::test]
async fn a_new_status_is_told_without_fetching_the_snapshot_again() {
    let world = World::new(Redis::start());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    let first = expect_news(&mut subscription).await;
    world.announce(&set(1, 1, 2, 110)).await;
    let second = expect_news(&mut subscription).await;
    assert_eq!(*second, documents_of(&set(1, 1, 2, 110)));
    assert!(Arc::ptr_eq(&first.snapshot, &second.snapshot));
    world.announce(&set(1, 2, 2, 120)).await;
    assert_eq!(*expect_news(&mut subscription).await, documents_of(&set(1, 2, 2, 120)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_melts_and_ends_with_the_newest() {
    const VERSIONS: u64 = 300;
    let world = World::new(Redis::start());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    for ep in 2..=VERSIONS {
        world.announce(&set(1, 1, ep, 100)).await;
    }
    let newest = documents_of(&set(1, 1, VERSIONS, 100));
    let mut told = 0;
    while *expect_news(&mut subscription).await != newest {
        told += 1;
    }
    // Nobody asked while they came in: at most what lay there, and what came after.
    assert!(told <= 2, "{told} notices had piled up");
}

#[tokio::test]
async fn every_edge_hears_of_it() {
    let world = World::new(Redis::start());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut edges: Vec<_> = (0..20).map(|_| world.subscribe()).collect();
    for edge in &mut edges {
        expect_back(edge).await;
        expect_news(edge).await;
    }
    world.announce(&set(1, 1, 2, 101)).await;
    for edge in &mut edges {
        assert_eq!(*expect_news(edge).await, documents_of(&set(1, 1, 2, 101)));
    }
}

#[tokio::test]
async fn a_server_that_stops_is_reported_and_one_that_comes_back_too() {
    let mut world = World::new(Redis::start_own());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    let first = expect_news(&mut subscription).await;
    world.redis.stop();
    let trouble = expect_lost(&mut subscription).await;
    assert!(trouble.contains("does not answer"), "{trouble}");
    world.redis.start_again();
    // It is empty now, which is no better than gone; the next status document fills it.
    world.announce(&set(1, 1, 1, 110)).await;
    expect_back(&mut subscription).await;
    let news = expect_news(&mut subscription).await;
    assert_eq!(*news, documents_of(&set(1, 1, 1, 110)));
    assert!(Arc::ptr_eq(&first.snapshot, &news.snapshot), "a snapshot outlives the connection");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut world = World::new(Redis::start_own());
    world.redis.stop();
    let mut subscription = world.subscribe();
    expect_lost(&mut subscription).await;
    world.redis.start_again();
    world.announce(&set(1, 1, 1, 100)).await;
    expect_back(&mut subscription).await;
    expect_news(&mut subscription).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_reported() {
    let mut world = World::new(Redis::start_own());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    expect_news(&mut subscription).await;
    world.redis.freeze();
    expect_lost(&mut subscription).await;
    world.redis.thaw();
    expect_back(&mut subscription).await;
}

#[tokio::test]
async fn a_flushed_server_is_lost_until_the_next_announcement() {
    let mut world = World::new(Redis::start_own());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    expect_news(&mut subscription).await;
    world.redis.flush();
    let trouble = expect_lost(&mut subscription).await;
    assert!(trouble.contains("empty"), "{trouble}");
    world.announce(&set(1, 1, 1, 110)).await;
    expect_back(&mut subscription).await;
    assert_eq!(*expect_news(&mut subscription).await, documents_of(&set(1, 1, 1, 110)));
}

#[tokio::test]
async fn a_bell_that_was_not_heard_is_made_up_for() {
    let world = World::new(Redis::start());
    world.announce(&set(1, 1, 1, 100)).await;
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    expect_news(&mut subscription).await;
    let _: i64 = world.command(&["HSET", &world.key, "status", "status.written-in-silence"]).await;
    assert_eq!(&*expect_news(&mut subscription).await.status, "status.written-in-silence");
}

#[tokio::test]
async fn a_large_snapshot_arrives_whole() {
    let world = World::new(Redis::start());
    let mut subscription = world.subscribe();
    expect_lost(&mut subscription).await;
    let snapshot: Arc<str> = format!("{}.signature", "0123456789abcdef".repeat(8 * 1024 * 1024 / 16)).into();
    let news = SignedSet { snapshot: Arc::clone(&snapshot), ..set(1, 1, 1, 100) };
    world.announce(&news).await;
    expect_back(&mut subscription).await;
    assert!(expect_news(&mut subscription).await.snapshot == snapshot);
}

#[tokio::test]
async fn documents_that_cannot_be_valid_are_not_read() {
    let spoils: [(&str, &[u8], &str); 4] = [
        ("snapshot", &[b'x'; 16 * 1024 * 1024 + 1], "more than the 16777216 allowed"),
        ("status", &[b'x'; 256 * 1024 + 1], "more than the 262144 allowed"),
        ("keyset", &[], "without keyset"),
        ("status", &[0xff, 0xfe], "not text"),
    ];
    let world = World::new(Redis::start());
    for (at, (field, bytes, complaint)) in spoils.into_iter().enumerate() {
        let iat = 100 + i64::try_from(at).unwrap();
        world.announce(&set(1, 1, 1, iat)).await;
        let mut spoil = redis::cmd("HSET");
        let _: i64 = spoil
            .arg(&world.key)
            .arg(field)
            .arg(bytes)
            .query_async(&mut world.connection().await)
            .await
            .unwrap();
        let mut subscription = world.subscribe();
        let trouble = expect_lost(&mut subscription).await;
        assert!(trouble.contains(complaint) && trouble.contains(&world.key), "{trouble}");
        let _: i64 = world.command(&["DEL", &world.key]).await;
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_lost_until_it_is_replaced() {
    let world = World::new(Redis::start());
    let _: redis::Value = world.command(&["SET", &world.key, "somebody else's"]).await;
    let mut subscription = world.subscribe();
    let trouble = expect_lost(&mut subscription).await;
    assert!(trouble.contains("not a hash"), "{trouble}");
    world.announce(&set(1, 1, 1, 100)).await;
    expect_back(&mut subscription).await;
    expect_news(&mut subscription).await;
}

#[tokio::test]
async fn a_dropped_subscription_gives_its_connection_back() {
    let world = World::new(Redis::start());
    world.announce(&set(1, 1, 1, 100)).await;
    let channel = format!("{}:news", world.key);
    let mut subscription = world.subscribe();
    expect_back(&mut subscription).await;
    let mut connection = world.connection().await;
    let mut listeners = async || -> i64 {
        let reply: (String, i64) = command(&mut connection, &["PUBSUB", "NUMSUB", &channel]).await.unwrap();
        reply.1
    };
    assert_eq!(listeners().await, 1);
    drop(subscription);
    let gone = async { while listeners().await > 0 {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the connection stays");
}
