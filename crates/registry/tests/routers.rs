//! Several routers at a real registry.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed; helpers are no tests to clippy")]

use portero_kernel::{RouterId, ServerId};
use portero_registry::{Answer, Beat, LapsedLease, Registry, RouteChanges, Use};
use portero_testkit::{TestCluster, join_all};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

const HOUR: Duration = Duration::from_secs(3600);

async fn registry() -> (Registry, Arc<TestCluster>, String) {
    let cluster = TestCluster::shared().await;
    let (database, url) = cluster.new_registry().await;
    let registry = Registry::new(url.parse().unwrap(), &portero_auth::MasterKey::generate());
    registry.migrate().await.unwrap();
    (registry, cluster, database)
}

async fn server(registry: &Registry, name: &str) -> ServerId {
    registry.server_upsert(name, &"postgresql://portero@127.0.0.1:1/postgres".into()).await.unwrap()
}

/// A router as the registry knows it: it keeps to what it was granted.
struct Router {
    registry: Registry,
    id: RouterId,
    capacity: usize,
    held: Vec<(ServerId, usize)>,
    used: usize,
    ttl: Duration,
}

impl Router {
    fn new(registry: &Registry, servers: &[ServerId], capacity: usize) -> Self {
        let held = servers.iter().map(|server| (*server, 0)).collect();
        Self { registry: registry.clone(), id: RouterId::generate(), capacity, held, used: 0, ttl: HOUR }
    }

    async fn beat(&mut self, wanted: usize, fenced: &[LapsedLease]) -> Answer {
        let servers = self.held.iter().map(|(server, held)| Use {
            server: *server,
            capacity: self.capacity,
            held: *held,
            wanted,
            used: self.used,
        });
        let beat = Beat {
            router: self.id,
            name: format!("router {}", self.id),
            address: None,
            applied: 0,
            ttl: self.ttl,
            fenced: fenced.to_vec(),
            servers: servers.collect(),
        };
        let answer = self.registry.router_beat(&beat).await.unwrap();
        self.held.clone_from(&answer.granted);
        answer
    }

    async fn granted(&mut self, wanted: usize) -> usize {
        self.beat(wanted, &[]).await.granted[0].1
    }
}

#[tokio::test]
async fn three_routers_share_a_server_and_take_over_from_one_that_died() {
    let (registry, ..) = registry().await;
    let server = server(&registry, "main").await;
    let mut routers = [(); 3].map(|()| Router::new(&registry, &[server], 30));
    let [a, b, c] = &mut routers;
    assert_eq!(a.granted(100).await, 30, "alone it has everything");
    assert_eq!(b.granted(100).await, 0, "nothing is free yet");
    a.used = 30;
    assert_eq!(a.granted(100).await, 15, "half is b's");
    assert_eq!(b.granted(100).await, 0, "a has just heard of it");
    a.granted(100).await;
    assert_eq!(b.granted(100).await, 0, "and its connections are still open");
    a.used = 15;
    a.granted(100).await;
    assert_eq!(b.granted(100).await, 15);
    b.used = 15;
    for _ in 0..3 {
        for router in [&mut *a, &mut *b] {
            router.used = router.used.min(10);
            router.granted(100).await;
        }
        c.granted(100).await;
    }
    assert_eq!(c.granted(100).await, 10, "a third each");

    let row = registry.server_by_id(server).await.unwrap().unwrap();
    assert_eq!(row.capacity, Some(30));
    let leases = registry.server_leases(server).await.unwrap();
    assert_eq!(leases.iter().map(|lease| (lease.live, lease.granted)).collect::<Vec<_>>(), [(true, 10); 3]);

    // c falls silent: what it had counts until somebody has ended its connections and says so.
    c.ttl = Duration::ZERO;
    c.granted(100).await;
    let answer = a.beat(100, &[]).await;
    assert_eq!((answer.granted[0].1, answer.live, answer.lapsed.len()), (10, 2, 1));
    assert_eq!((answer.lapsed[0].router, answer.lapsed[0].server), (c.id, server));
    assert_eq!(b.beat(100, &[]).await.lapsed, answer.lapsed, "anybody may do it");
    let answer = a.beat(100, &answer.lapsed).await;
    assert_eq!((answer.granted[0].1, answer.lapsed), (15, Vec::new()));
    assert_eq!(b.granted(100).await, 15);
    assert_eq!(registry.routers_live().await.unwrap().len(), 2);

    // It comes back: it shares as one that is new.
    (c.ttl, c.held[0].1) = (HOUR, 0);
    assert_eq!(c.granted(100).await, 0);
    registry.router_leave(a.id).await.unwrap();
    assert_eq!(c.granted(100).await, 15);
}

#[tokio::test]
async fn who_speaks_again_is_not_fenced_by_what_was_seen_of_it_before() {
    let (registry, ..) = registry().await;
    let servers = [server(&registry, "main").await, server(&registry, "second").await];
    let (mut a, mut b) = (Router::new(&registry, &servers, 10), Router::new(&registry, &servers, 10));
    a.ttl = Duration::ZERO;
    assert_eq!(a.granted(10).await, 10);
    let answer = b.beat(10, &[]).await;
    assert_eq!(answer.lapsed.len(), 2, "one on each server");
    // a speaks, and falls silent again, while b is about to fence it.
    a.granted(10).await;
    let answer = b.beat(10, &answer.lapsed).await;
    assert_eq!((answer.granted[0].1, answer.lapsed.len()), (0, 2));
    let answer = b.beat(10, &answer.lapsed[..1]).await;
    assert_eq!(answer.lapsed.len(), 1, "of the other server nobody has said so");
    assert_eq!(answer.granted.iter().map(|(_, granted)| granted).sum::<usize>(), 10);
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_room() {
    let (registry, ..) = registry().await;
    let server = server(&registry, "main").await;
    let (mut a, mut b) = (Router::new(&registry, &[server], 20), Router::new(&registry, &[server], 20));
    a.granted(20).await;
    b.granted(20).await;
    // Twice a's answers don't arrive: it goes on with 20, and may open them at any moment.
    for _ in 0..2 {
        assert_eq!(a.granted(20).await, 10);
        a.held[0].1 = 20;
        assert_eq!(b.granted(20).await, 0);
    }
    a.granted(20).await;
    a.granted(20).await;
    assert_eq!(b.granted(20).await, 10);
}

#[tokio::test]
async fn beats_at_the_same_time_never_grant_more_than_there_is() {
    let (registry, cluster, database) = registry().await;
    let servers = [server(&registry, "main").await, server(&registry, "second").await];
    let routers: Vec<_> = (0..6)
        .map(|number| {
            // In another order each, which must not matter to the locks.
            let mut servers = servers;
            servers.rotate_left(number % 2);
            Mutex::new(Router::new(&registry, &servers, 17))
        })
        .collect();
    let session = cluster.superuser(&database).await;
    let rounds = join_all(routers.iter().enumerate().map(async |(number, router)| {
        let mut router = router.lock().await;
        for round in 0..20 {
            let wanted = (number * 7 + round * 5) % 23;
            router.beat(wanted, &[]).await;
            router.used = router.held.iter().map(|(_, granted)| *granted).min().unwrap().min(wanted);
            let sum = "SELECT coalesce(max(sum), 0) FROM
                       (SELECT sum(greatest(granted, held, used)) AS sum FROM budget_leases GROUP BY server_id) s";
            let most: i64 = session.query_one(sum, &[]).await.unwrap().get(0);
            assert!(most <= 17, "{most} of 17 are given away");
        }
    }));
    rounds.await;
}

#[tokio::test]
async fn a_server_that_the_registry_does_not_know_is_left_out_of_the_answer() {
    let (registry, ..) = registry().await;
    let known = server(&registry, "main").await;
    let mut router = Router::new(&registry, &[ServerId::generate(), known], 5);
    assert_eq!(router.beat(1, &[]).await.granted, [(known, 5)]);
}

#[tokio::test]
async fn a_router_that_missed_more_than_the_log_has_is_told_so() {
    let (registry, cluster, database) = registry().await;
    let session = cluster.superuser(&database).await;
    let since = async |clock| match registry.routes_since(clock).await.unwrap() {
        RouteChanges::Since { clock, changes } => Some((clock, changes.len())),
        RouteChanges::Gap => None,
    };
    assert_eq!(since(0).await, Some((0, 0)));
    assert_eq!(since(1).await, None, "a clock that is ahead knows another registry");
    for _ in 0..3 {
        session.batch_execute("SELECT route_changed(gen_random_uuid())").await.unwrap();
    }
    assert_eq!((since(0).await, since(2).await, since(3).await), (Some((3, 3)), Some((3, 1)), Some((3, 0))));
    session
        .batch_execute("UPDATE route_log SET changed_at = now() - interval '1 day' WHERE clock = 2")
        .await
        .unwrap();
    assert_eq!(registry.route_log_prune(2 * 24 * HOUR).await.unwrap(), 0);
    assert_eq!(registry.route_log_prune(HOUR).await.unwrap(), 2, "the beginning, without a hole");
    assert_eq!((since(0).await, since(1).await, since(2).await), (None, None, Some((3, 1))));
    assert_eq!(registry.route_log_prune(Duration::ZERO).await.unwrap(), 1);
    assert_eq!((since(2).await, since(3).await), (None, Some((3, 0))));
    assert_eq!(registry.route_clock().await.unwrap(), 3);
}
