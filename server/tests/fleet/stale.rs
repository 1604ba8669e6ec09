//! What a node shows of what another one has changed, while Redis hangs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use avvy_persistence::testing::mongod::fresh_database;
use avvy_persistence::testing::proxy::{Proxy, Way};
use avvy_persistence::testing::redis_server::RedisServer;
use serde_json::{Value, json};

use crate::common::Server;
use crate::common::lives::{brane, changed};
use crate::node_with;
use crate::revoked::until;

/// How long after the store was asked for it a value is served at most.
const MAX_STALE: Duration = Duration::from_secs(2);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);

fn is_well(node: &Server, brane: &str) -> bool {
    // By a call it is found out.
    name(node, brane);
    let text = node.text("/metrics");
    ["avvy_redis_up", "avvy_redis_listening"].iter().all(|is| text.contains(&format!("\n{is} 1\n")))
}

fn name(node: &Server, brane: &str) -> Value {
    let (status, shown) = node.get(&format!("/api/v1/brane/{brane}"));
    assert_eq!(status, 200, "{shown}");
    shown["name"].clone()
}

/// Nor again when Redis is back, which still has what was there before.
#[test]
fn what_redis_did_not_tell_of_is_shown_no_longer_than_the_bound() {
    let (redis, directory, database) =
        (RedisServer::start(), tempfile::tempdir().unwrap(), fresh_database());
    let way = Proxy::start(SocketAddr::from(([127, 0, 0, 1], redis.port())));
    let (url, stale_ms) = (format!("redis://{}/", way.address()), MAX_STALE.as_millis());
    let stale_ms = stale_ms.to_string();
    let settings = [
        ("AVVY_REDIS_URL", &*url),
        ("AVVY_REDIS_RETRY_MS", "50"),
        ("AVVY_CACHE_MAX_STALE_MS", &stale_ms),
        ("AVVY_CACHE_TTL_MS", &stale_ms),
    ];
    let start = |name| node_with(directory.path(), name, &database, 1, &settings);
    let (one, two) = (start("one"), start("two"));
    let mut stale = 0;
    for hangs in [Way::Swallowing, Way::Held, Way::delayed(Duration::from_millis(500))] {
        until(|| [&one, &two].iter().all(|node| is_well(node, &one.demo_brane)));
        let brane = brane(&one);
        assert_eq!(name(&two, &brane), "Hall");
        way.set(hangs);
        changed(&one, "PATCH", &brane, &json!({"name": "Cellar"}));
        let written = Instant::now();
        assert_eq!(name(&one, &brane), "Cellar", "its own change");
        loop {
            let later = written.elapsed();
            let is_new = name(&two, &brane) == "Cellar";
            assert!(is_new || later < MAX_STALE, "{hangs:?}: as it was {later:?} ago");
            stale += u32::from(!is_new);
            if later > MAX_STALE {
                way.set(Way::CLEAR);
            }
            if later > MAX_STALE * 3 / 2 {
                break;
            }
            std::thread::park_timeout(LOOK);
        }
    }
    assert!(stale > 0, "something else told of it");
    assert_eq!(one.drain().code(), Some(0));
    assert_eq!(two.drain().code(), Some(0));
}
