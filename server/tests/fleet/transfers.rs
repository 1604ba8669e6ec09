//! What is on its way into a brane or out of one when the node that serves it
//! dies, goes, or sleeps over its lease: afterwards it is in one of the two, as a
//! whole.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use avvy_persistence::testing::mongod::fresh_database;
use serde_json::{Value, json};
use uuid::Uuid;

use super::common::Server;
use super::{LEASE, PATIENCE, node_with};

const PEOPLE: usize = 6;
const ROUNDS: usize = 4;

/// Somebody with a tree that goes to and fro, and a block beside it.
struct Person {
    token: String,
    tree: Vec<String>,
    block: String,
}

/// Where two nodes and those who move things meet.
struct Fleet {
    nodes: [Server; 2],
    brane: String,
    people: Vec<Person>,
}

fn start(directory: &tempfile::TempDir, database: &str, name: &str) -> Server {
    let settings = [
        ("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true"),
        // Whoever edits is somebody new to the brane at each request, and then
        // forgotten.
        ("AVVY_WORLD_CLIENTS_PER_USER", "1"),
    ];
    node_with(directory.path(), name, database, 0, &settings)
}

fn post(node: &Server, path: &str, body: &Value, token: &str) -> Option<(u16, Value)> {
    let key = Uuid::new_v4().to_string();
    node.try_keyed_as(path, body, &key, token)
}

/// Asks one node after the other until one of them has done it.
fn ask_until_done(nodes: [&Server; 2], path: &str, body: &Value, token: &str) -> Value {
    let began = Instant::now();
    for node in nodes.into_iter().cycle() {
        match post(node, path, body, token) {
            // Or it is there already: that answer was lost.
            Some((200 | 404, done)) => return done,
            other => assert!(began.elapsed() < PATIENCE, "{path}: {other:?}"),
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    unreachable!("the nodes have no end")
}

/// A move of an object: the path and the body that ask for it.
fn move_of(brane: &str, object: &str, goes_out: bool) -> (String, Value) {
    match goes_out {
        true => (format!("/api/v1/object/{object}/place"), json!({"brane": brane})),
        false => ("/api/v1/object/take".to_owned(), json!({"brane": brane, "object": object})),
    }
}

impl Fleet {
    fn start(directory: &tempfile::TempDir, database: &str) -> Self {
        let nodes = ["one", "two"].map(|name| start(directory, database, name));
        let one = &nodes[0];
        let hall = json!({"name": "Hall", "visibility": "public"});
        let (status, hall) = one.post_own("/api/v1/brane", &hall);
        assert_eq!(status, 201, "{hall}");
        let brane = hall["id"].as_str().unwrap().to_owned();
        let people = (0..PEOPLE).map(|nth| Person::new(one, &brane, nth)).collect();
        Self { nodes, brane, people }
    }

    /// The nodes, this one first.
    fn order(&self, nth: usize) -> [&Server; 2] {
        [&self.nodes[nth], &self.nodes[1 - nth]]
    }

    /// The ids of what is in the brane, but for what is no tree's and no block.
    fn placed(&self, nth: usize) -> BTreeSet<String> {
        let path = format!("/api/v1/brane/{}/objects?limit=1000", self.brane);
        let began = Instant::now();
        loop {
            let (status, page) = self.nodes[nth].get(&path);
            if status == 200 {
                let all = page["objects"].as_array().unwrap().iter();
                let carried = all.filter(|object| object["props"]["name"] != Value::Null);
                return carried.map(|object| object["id"].as_str().unwrap().to_owned()).collect();
            }
            assert!(began.elapsed() < PATIENCE, "{page}");
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Holds everybody's things to being in one place each, after what was left
    /// has ended. The first is the node that serves them.
    fn check(&self, nth: usize) {
        let nodes = self.order(nth);
        thread::scope(|scope| {
            for person in &self.people {
                // The next transfer ends the one before.
                scope.spawn(|| {
                    for goes_out in [true, false] {
                        let (path, body) = move_of(&self.brane, &person.block, goes_out);
                        ask_until_done(nodes, &path, &body, &person.token);
                    }
                });
            }
        });
        let mut placed = self.placed(nth);
        for (nth, person) in self.people.iter().enumerate() {
            let mut own = person.inventory(nodes[0]);
            assert!(own.remove(&person.block), "{nth} has lost the block");
            let there: Vec<bool> = person.tree.iter().map(|id| placed.remove(id)).collect();
            let here: Vec<bool> = person.tree.iter().map(|id| person.has(nodes[0], id)).collect();
            own.remove(&person.tree[0]);
            let is_whole = there == here.iter().map(|is_here| !is_here).collect::<Vec<_>>()
                && there.iter().all(|is_there| *is_there == there[0]);
            assert!(is_whole, "of {nth}, in the brane {there:?}, in the inventory {here:?}");
            assert!(own.is_empty(), "{nth} has more than there was: {own:?}");
        }
        assert!(placed.is_empty(), "there is more than there was: {placed:?}");
    }

    /// Has all move their trees to and fro until they are stopped; this is what
    /// happens meanwhile, told how many moves were done. Gives how many asked in
    /// vain.
    fn while_all_move(&self, first: usize, meanwhile: impl FnOnce(&AtomicUsize)) -> usize {
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let people = self.people.iter();
            let movers: Vec<_> = people
                .map(|person| scope.spawn(|| person.go_on(self, first, &stop, &done)))
                .collect();
            meanwhile(&done);
            stop.store(true, Ordering::SeqCst);
            movers.into_iter().map(|mover| mover.join().unwrap()).sum()
        })
    }
}

impl Person {
    fn new(node: &Server, brane: &str, nth: usize) -> Self {
        let name = format!("person-{nth}");
        let (status, signed_in) = node.post("/api/v1/auth/dev", &json!({"name": name}));
        assert_eq!(status, 200, "{signed_in}");
        let token = signed_in["access_token"].as_str().unwrap().to_owned();
        let ruling = json!({"n": 1, "op": "appoint", "user": signed_in["user"], "role": "builder"});
        let ruling = json!({"client": Uuid::new_v4().to_string(), "edits": [ruling]});
        let (status, ruled) = node.post_own(&format!("/api/v1/brane/{brane}/edits"), &ruling);
        assert_eq!((status, &ruled["outcomes"][0]["code"]), (200, &Value::Null), "{ruled}");
        let make = |body: Value| {
            let (status, made) = post(node, "/api/v1/object", &body, &token).unwrap();
            assert_eq!(status, 201, "{made}");
            made["id"].as_str().unwrap().to_owned()
        };
        let leaf = make(json!({"kind": "block", "name": "Leaf"}));
        let root = make(json!({"kind": "group", "name": "Tree", "child_ids": [leaf]}));
        let block = make(json!({"kind": "block", "name": "Block"}));
        Self { token, tree: vec![root, leaf], block }
    }

    fn has(&self, node: &Server, object: &str) -> bool {
        node.request("GET", &format!("/api/v1/object/{object}"), &self.token).0 == 200
    }

    /// What is in it, but for what is in groups.
    fn inventory(&self, node: &Server) -> BTreeSet<String> {
        let (status, page) =
            node.request("GET", "/api/v1/users/me/inventory?limit=100", &self.token);
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        let listed = page["things"].as_array().unwrap_or_else(|| panic!("{page}"));
        listed.iter().map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Edits under another client id: what the brane remembers of this one is
    /// forgotten then.
    fn edit(&self, node: &Server, brane: &str) {
        let id = Uuid::new_v4().to_string();
        let edit = json!({"n": 1, "op": "create", "id": id, "parent": 0, "kind": "block"});
        let edit = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]});
        let _ = post(node, &format!("/api/v1/brane/{brane}/edits"), &edit, &self.token);
    }

    /// Moves the tree to and fro; gives how often it was asked for in vain.
    fn go_on(&self, fleet: &Fleet, first: usize, stop: &AtomicBool, done: &AtomicUsize) -> usize {
        let (mut at, mut goes_out, mut in_vain) = (first, true, 0);
        while !stop.load(Ordering::SeqCst) {
            let node = &fleet.nodes[at];
            let (path, body) = move_of(&fleet.brane, &self.tree[0], goes_out);
            match post(node, &path, &body, &self.token) {
                Some((200, _)) => {
                    goes_out = !goes_out;
                    done.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                // It is at the other end.
                Some((404, _)) => goes_out = !goes_out,
                // The node is not there, or has not got the brane.
                None | Some((421, _)) => at = 1 - at,
                Some(_) => {}
            }
            in_vain += 1;
            self.edit(&fleet.nodes[at], &fleet.brane);
            thread::park_timeout(Duration::from_millis(20));
        }
        in_vain
    }
}

fn wait_for(done: &AtomicUsize, more: usize) {
    let (enough, began) = (done.load(Ordering::SeqCst) + more, Instant::now());
    while done.load(Ordering::SeqCst) < enough {
        assert!(began.elapsed() < PATIENCE, "nothing moves");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// In each round the node that serves is another one, and ends by this signal.
fn ends(signal: &str) {
    let (directory, database) = (tempfile::tempdir().unwrap(), fresh_database());
    let mut fleet = Fleet::start(&directory, &database);
    fleet.check(0);
    for round in 0..ROUNDS {
        let (serves, began) = (round % 2, Instant::now());
        let in_vain = fleet.while_all_move(serves, |done| {
            // In the middle of another step each time.
            wait_for(done, PEOPLE + 3 * round);
            fleet.nodes[serves].signal(signal);
            wait_for(done, 2 * PEOPLE);
        });
        fleet.check(1 - serves);
        eprintln!("round {round}: {in_vain} times in vain, {:?}", began.elapsed());
        fleet.nodes[serves].wait();
        fleet.nodes[serves] = start(&directory, &database, ["one", "two"][serves]);
    }
    for node in fleet.nodes {
        assert_eq!(node.drain().code(), Some(0));
    }
}

#[test]
fn what_is_on_its_way_when_its_node_is_killed_is_here_or_there() {
    ends("-KILL");
}

/// It hands the brane over, to whoever asks there.
#[test]
fn what_is_on_its_way_when_its_node_goes_is_here_or_there() {
    ends("-INT");
}

/// When it wakes, it goes on with what it was at, in a brane that another has.
#[test]
fn what_is_on_its_way_when_its_node_sleeps_is_here_or_there() {
    let (directory, database) = (tempfile::tempdir().unwrap(), fresh_database());
    let fleet = Fleet::start(&directory, &database);
    for round in 0..ROUNDS {
        let (serves, began) = (round % 2, Instant::now());
        let in_vain = fleet.while_all_move(serves, |done| {
            wait_for(done, PEOPLE + round);
            fleet.nodes[serves].signal("-STOP");
            thread::park_timeout(LEASE);
            // Whoever is left half-way is ended at the other node.
            fleet.placed(1 - serves);
            let other = [&fleet.nodes[1 - serves]; 2];
            for person in fleet.people.iter().skip(PEOPLE / 2) {
                person.edit(other[0], &fleet.brane);
                for goes_out in [true, false] {
                    let (path, body) = move_of(&fleet.brane, &person.block, goes_out);
                    ask_until_done(other, &path, &body, &person.token);
                }
            }
            fleet.nodes[serves].signal("-CONT");
            wait_for(done, 2 * PEOPLE);
        });
        fleet.check(1 - serves);
        eprintln!("round {round}: {in_vain} times in vain, {:?}", began.elapsed());
    }
    for node in fleet.nodes {
        assert_eq!(node.drain().code(), Some(0));
    }
}
