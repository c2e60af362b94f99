//! What is in the hash after announcing.

use super::*;

#[tokio::test]
async fn the_documents_lie_in_the_hash_that_the_documentation_names() {
    let world = World::new(Redis::start());
    let news = set(1, 2, 3, 400);
    world.announce(&news).await;
    assert_eq!(world.counters().await, counters_of(&news));
    assert_eq!(world.field("keyset").await.as_deref(), Some("keyset.1"));
    assert_eq!(world.field("snapshot").await.as_deref(), Some("snapshot.2"));
    assert_eq!(world.field("status").await.as_deref(), Some("status.3.400"));
    assert_eq!(world.command::<i64>(&["TTL", &world.key]).await, -1, "an edge may need it for long");
}

#[tokio::test]
async fn newer_documents_replace_older_ones() {
    let newer =
        [set(6, 5, 5, 500), set(5, 6, 5, 500), set(5, 5, 6, 500), set(5, 5, 5, 501), set(6, 6, 6, 100)];
    for newer in newer {
        let world = World::new(Redis::start());
        world.announce(&set(5, 5, 5, 500)).await;
        world.announce(&newer).await;
        assert_eq!(world.counters().await, counters_of(&newer));
        assert_eq!(world.field("snapshot").await.as_deref(), Some(&*newer.snapshot));
        assert_eq!(world.field("status").await.as_deref(), Some(&*newer.status));
    }
}

#[tokio::test]
async fn nothing_ever_goes_back() {
    let world = World::new(Redis::start());
    let held = set(5, 5, 5, 500);
    world.announce(&held).await;
    // Even when all the rest is newer: such documents never belonged together.
    for older in
        [set(4, 9, 9, 900), set(9, 4, 9, 900), set(9, 9, 4, 900), set(5, 5, 5, 499), set(5, 5, 5, 440)]
    {
        world.announce(&older).await;
        assert_eq!(world.counters().await, counters_of(&held), "{older:?}");
        assert_eq!(world.field("snapshot").await.as_deref(), Some("snapshot.5"));
        assert_eq!(world.field("status").await.as_deref(), Some("status.5.500"));
    }
}

#[tokio::test]
async fn a_status_of_a_clock_that_ran_ahead_does_not_keep_out_the_right_ones() {
    let world = World::new(Redis::start());
    world.announce(&set(5, 5, 5, 500 + 3_600)).await;
    world.announce(&set(5, 5, 5, 500)).await;
    assert_eq!(world.field("status").await.as_deref(), Some("status.5.500"));
}

#[tokio::test]
async fn counters_beyond_the_integers_of_lua_are_told_apart() {
    let world = World::new(Redis::start());
    let largest = set(u64::MAX, u64::MAX - 1, u64::MAX, i64::MAX);
    world.announce(&set(9, u64::MAX - 2, 9, 1)).await;
    world.announce(&largest).await;
    world.announce(&set(u64::MAX, u64::MAX - 2, u64::MAX, i64::MAX)).await;
    assert_eq!(world.counters().await, counters_of(&largest));
}

#[tokio::test]
async fn an_unchanged_snapshot_is_not_written_again() {
    let world = World::new(Redis::start());
    world.announce(&set(5, 5, 5, 500)).await;
    let _: i64 = world.command(&["HSET", &world.key, "snapshot", "the same bytes"]).await;
    world.announce(&set(5, 5, 6, 510)).await;
    assert_eq!(world.field("status").await.as_deref(), Some("status.6.510"));
    assert_eq!(world.field("snapshot").await.as_deref(), Some("the same bytes"));
}

#[tokio::test]
async fn a_snapshot_that_was_signed_again_is_written() {
    let world = World::new(Redis::start());
    world.announce(&set(5, 5, 5, 500)).await;
    let again = SignedSet { snapshot: "snapshot.5-by-another-key".into(), ..set(6, 5, 5, 501) };
    world.announce(&again).await;
    assert_eq!(world.field("snapshot").await.as_deref(), Some(&*again.snapshot));
}

#[tokio::test]
async fn whatever_else_is_in_the_key_is_replaced() {
    let world = World::new(Redis::start());
    let key = world.key.clone();
    let news = set(5, 5, 5, 500);
    let spoils: [&[&str]; 7] = [
        &["SET", &key, "text"],
        &["EVAL", "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'a', 'b')", "1", &key],
        &["HSET", &key, "cv", "1e9"],
        &["HSET", &key, "cv", "-1"],
        &["HSET", &key, "cv", "99999999999999999999999"],
        &["HDEL", &key, "snapshot"],
        &["HDEL", &key, "snapshot_signature", "status"],
    ];
    for spoil in spoils {
        world.announce(&news).await;
        let _: redis::Value = world.command(spoil).await;
        world.announce(&news).await;
        assert_eq!(world.counters().await, counters_of(&news), "{spoil:?}");
        assert_eq!(world.field("snapshot").await.as_deref(), Some("snapshot.5"), "{spoil:?}");
        assert_eq!(world.field("status").await.as_deref(), Some("status.5.500"), "{spoil:?}");
    }
}

#[tokio::test]
async fn a_flushed_server_has_everything_again_after_the_next_announcement() {
    let mut world = World::new(Redis::start_own());
    world.announce(&set(5, 5, 5, 500)).await;
    world.redis.flush();
    let _: redis::Value = world.command(&["SCRIPT", "FLUSH"]).await;
    let news = set(5, 5, 5, 510);
    world.announce(&news).await;
    assert_eq!(world.counters().await, counters_of(&news));
    assert_eq!(world.field("snapshot").await.as_deref(), Some("snapshot.5"));
}

#[tokio::test]
async fn without_a_server_announcing_fails_and_works_again_once_it_is_back() {
    let mut world = World::new(Redis::start_own());
    world.announce(&set(5, 5, 5, 500)).await;
    world.redis.stop();
    for _ in 0..2 {
        let trouble = world.notices.announce(&world.environment, &set(5, 5, 6, 510)).await.unwrap_err();
        assert!(trouble.to_string().contains(&world.redis.url()["redis://".len()..]), "{trouble}");
    }
    world.redis.start_again();
    world.announce(&set(5, 5, 6, 510)).await;
    assert_eq!(world.field("snapshot").await.as_deref(), Some("snapshot.5"));
}

#[tokio::test]
async fn a_restart_between_two_announcements_goes_unnoticed() {
    let mut world = World::new(Redis::start_own());
    world.announce(&set(5, 5, 5, 500)).await;
    world.redis.start_again();
    world.announce(&set(5, 5, 5, 510)).await;
    assert_eq!(world.field("status").await.as_deref(), Some("status.5.510"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_control_planes_at_once_leave_the_newest_and_never_a_mixture() {
    const VERSIONS: u64 = 200;
    let world = World::new(Redis::start());
    let announcers = (0..2).map(|start| {
        let (notices, environment) = (open(&world.redis), world.environment.clone());
        tokio::spawn(async move {
            for version in (1 + start..=VERSIONS).step_by(2) {
                notices.announce(&environment, &set(version, version, version, 500)).await.unwrap();
            }
        })
    });
    let announcers: Vec<_> = announcers.collect();
    let mut connection = world.connection().await;
    let mut last = 0;
    while last < VERSIONS {
        let fields: Vec<Option<String>> =
            command(&mut connection, &["HMGET", &world.key, "cv", "keyset", "snapshot", "status"])
                .await
                .unwrap();
        let Some(cv) = fields[0].as_ref().map(|cv| cv.parse().unwrap()) else { continue };
        assert!(cv >= last, "{last} then {cv}");
        let wanted = documents_of(&set(cv, cv, cv, 500));
        let found = (fields[1].as_deref(), fields[2].as_deref(), fields[3].as_deref());
        assert_eq!(found, (Some(&*wanted.keyset), Some(&*wanted.snapshot), Some(&*wanted.status)));
        last = cv;
    }
    for announcer in announcers {
        announcer.await.unwrap();
    }
    assert_eq!(last, VERSIONS);
}

#[tokio::test]
async fn environments_do_not_meet() {
    let world = World::new(Redis::start());
    let staging = Environment::parse("staging").unwrap();
    world.notices.announce(&staging, &set(9, 9, 9, 900)).await.unwrap();
    world.announce(&set(1, 1, 1, 100)).await;
    assert_eq!(world.counters().await, counters_of(&set(1, 1, 1, 100)));
}

#[tokio::test]
async fn what_no_edge_would_read_is_not_written() {
    let world = World::new(Redis::start());
    let long = |bytes: usize| -> Arc<str> { "x".repeat(bytes).into() };
    for news in [
        SignedSet { keyset: long(256 * 1024 + 1), ..set(5, 5, 5, 500) },
        SignedSet { status: long(256 * 1024 + 1), ..set(5, 5, 5, 500) },
        SignedSet { snapshot: long(16 * 1024 * 1024 + 1), ..set(5, 5, 5, 500) },
    ] {
        let trouble = world.notices.announce(&world.environment, &news).await.unwrap_err().to_string();
        assert!(trouble.contains("more than"), "{trouble}");
    }
    assert_eq!(world.command::<i64>(&["EXISTS", &world.key]).await, 0);
}

#[tokio::test]
async fn a_refused_password_is_said_and_not_shown() {
    let redis = Redis::start_with_password("right-one");
    let address = redis.url().rsplit_once('@').unwrap().1.to_owned();
    for url in [format!("redis://:wrong-one@{address}"), format!("redis://{address}")] {
        let notices = RedisNotices::open(&Settings { url, ..Settings::default() }).unwrap();
        let error = notices.announce(&Environment::default(), &set(1, 1, 1, 1)).await.unwrap_err();
        let (said, shown) = (error.to_string(), format!("{error:?}"));
        assert!(said.contains("check user and password") && said.contains(&address), "{said}");
        assert!(!said.contains("wrong-one") && !shown.contains("wrong-one"), "{shown}");
        let lost = expect_lost(&mut notices.subscribe(&Environment::default())).await;
        assert!(lost.contains("check user and password") && !lost.contains("wrong-one"), "{lost}");
    }
    World::new(redis).announce(&set(1, 1, 1, 1)).await;
}

#[tokio::test]
async fn the_number_of_the_database_is_heeded() {
    let redis = Redis::start_own();
    let url = format!("{}/3", redis.url());
    let notices = RedisNotices::open(&Settings { url, ..Settings::default() }).unwrap();
    notices.announce(&Environment::default(), &set(1, 1, 1, 1)).await.unwrap();
    let world = World::new(redis);
    let mut connection = world.connection().await;
    let exists = async |connection: &mut MultiplexedConnection| -> i64 {
        command(connection, &["EXISTS", "edgeseal:{production}"]).await.unwrap()
    };
    assert_eq!(exists(&mut connection).await, 0);
    let _: redis::Value = command(&mut connection, &["SELECT", "3"]).await.unwrap();
    assert_eq!(exists(&mut connection).await, 1);
}

#[tokio::test]
async fn a_server_that_a_failover_made_read_only_is_said_to_answer() {
    let world = World::new(Redis::start_own());
    let _: redis::Value = world.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let error = world.notices.announce(&world.environment, &set(1, 1, 1, 100)).await.unwrap_err();
    assert!(error.to_string().contains("could not do it"), "{error}");
    let _: redis::Value = world.command(&["REPLICAOF", "NO", "ONE"]).await;
    world.announce(&set(1, 1, 1, 100)).await;
}

#[tokio::test]
async fn the_rights_that_the_refusal_names_are_enough() {
    let users: [(&str, &[&str]); 2] = [("control", CONTROL_RIGHTS), ("edge", EDGE_RIGHTS)];
    let world = World::new(Redis::start_own());
    for (user, rights) in users {
        let base = ["ACL", "SETUSER", user, "on", ">pass", "~edgeseal:*", "&edgeseal:*"];
        let _: redis::Value = world.command(&[&base, rights].concat()).await;
    }
    let open = |user: &str| {
        let url = world.redis.url().replace("redis://", &format!("redis://{user}:pass@"));
        RedisNotices::open(&Settings { url, ..Settings::default() }).unwrap()
    };
    let (control, edge) = (open("control"), open("edge"));
    control.announce(&world.environment, &set(1, 1, 1, 100)).await.unwrap();
    let mut subscription = edge.subscribe(&world.environment);
    expect_back(&mut subscription).await;
    expect_news(&mut subscription).await;
    control.announce(&world.environment, &set(1, 1, 2, 110)).await.unwrap();
    expect_news(&mut subscription).await;
    let trouble = edge.announce(&world.environment, &set(1, 1, 3, 120)).await.unwrap_err().to_string();
    assert!(trouble.contains("may use"), "{trouble}");
}

const EDGE_RIGHTS: &[&str] =
    &["+evalsha", "+script|load", "+type", "+hstrlen", "+hmget", "+hget", "+subscribe"];
const CONTROL_RIGHTS: &[&str] =
    &["+evalsha", "+script|load", "+type", "+hstrlen", "+hmget", "+hget", "+hset", "+del", "+publish"];
