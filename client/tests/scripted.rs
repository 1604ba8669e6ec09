//! The client over a real socket, against a server that does just what the
//! test says: what a whole server does too seldom to wait for.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

#[path = "common/peer.rs"]
mod peer;

use std::time::{Duration, Instant};

use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientError, ClientOptions, ConnectError, WorldChange};
use avvy_client::replica::Replica;
use avvy_model::{
    BraneId, Code, Counter, DeleteMode, Edit, Epoch, Handle, Operation, Target, TraceId,
};
use avvy_protocol::{Channel, ClientMessage, ErrorMessage, ServerMessage};
use futures_util::StreamExt;
use peer::{BRANE, PATIENCE, Peer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::accept_async;

const OTHER: BraneId = BraneId::from_bytes([6; 16]);

/// A client whose server follows the script.
async fn joined<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> (Brane, JoinHandle<()>)
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Peer(accept_async(stream).await.unwrap())).await;
    });
    let machine = MachineOptions { join_retry_ms: 1, ..MachineOptions::default() };
    let options = ClientOptions { machine, ..ClientOptions::default() };
    let client = timeout(PATIENCE, Client::connect(&url, "token", options)).await.unwrap();
    let brane = timeout(PATIENCE, client.unwrap().join(BRANE)).await.unwrap().unwrap();
    (brane, serving)
}

#[tokio::test]
async fn a_hash_that_is_not_answered_before_a_restart_is_not_waited_for() {
    let (brane, serving) = joined(|mut peer| async move {
        peer.welcome().await;
        peer.let_in(Channel(3), 1).await;
        peer.asked_for_hash(Channel(3)).await;
        let code = Some(Code::Unavailable);
        peer.say(ServerMessage::Left { channel: Channel(3), code, address: None }).await;
        peer.let_in(Channel(4), 2).await;
        peer.asked_for_hash(Channel(4)).await;
        peer.tell_hash(Channel(4), 2, 9).await;
        // Until the client is gone.
        while peer.0.next().await.is_some() {}
    })
    .await;
    let lost = timeout(PATIENCE, brane.check()).await.expect("the check hangs");
    assert!(matches!(lost, Err(ClientError::NoCopy)), "{lost:?}");
    let mut changes = brane.subscribe().await.unwrap();
    while brane.read(|copy| copy.position().epoch.0).await.unwrap_or(0) < 2 {
        timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
    }
    // The next answer is for whoever asked next.
    let check = timeout(PATIENCE, brane.check()).await.unwrap().unwrap();
    assert_eq!((check.at.epoch, check.theirs), (Epoch(2), [9; 16]));
    assert!(check.ours.is_some());
    drop((brane, changes));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn two_who_ask_for_the_hash_at_once_are_answered_one_after_the_other() {
    let (brane, serving) = joined(|mut peer| async move {
        peer.welcome().await;
        peer.let_in(Channel(3), 1).await;
        peer.asked_for_hash(Channel(3)).await;
        // A server that is asked twice before it answers, answers once.
        assert!(matches!(peer.hear().await, ClientMessage::Update(_)));
        peer.tell_hash(Channel(3), 1, 8).await;
        peer.asked_for_hash(Channel(3)).await;
        peer.tell_hash(Channel(3), 1, 9).await;
        while peer.0.next().await.is_some() {}
    })
    .await;
    let (target, mode) = (Target::Handle(Handle(1)), DeleteMode::Subtree);
    let edit = Edit::One(Operation::Delete { target, mode });
    let all = async { tokio::join!(brane.check(), brane.check(), brane.submit(edit)) };
    let (first, second, submitted) = timeout(PATIENCE, all).await.unwrap();
    assert!(submitted.is_ok());
    assert_eq!((first.unwrap().theirs, second.unwrap().theirs), ([8; 16], [9; 16]));
    drop(brane);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn goes_where_the_brane_is_and_back_when_nobody_is_there() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", other.local_addr().unwrap());
    let home = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", home.local_addr().unwrap());
    async fn next(listener: &TcpListener) -> Peer {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        Peer(accept_async(stream).await.unwrap())
    }
    let serving = tokio::spawn(async move {
        let mut peer = next(&home).await;
        peer.welcome().await;
        assert!(matches!(peer.hear().await, ClientMessage::Join(_)));
        peer.say(moved_to(&address)).await;
        // With the copy of the first, which it was never given.
        let mut peer = next(&other).await;
        peer.welcome().await;
        peer.let_in(Channel(3), 1).await;
        // It dies, and nobody is there any more.
        drop((peer, other));
        let mut peer = next(&home).await;
        peer.welcome().await;
        peer.let_in(Channel(9), 2).await;
        while peer.0.next().await.is_some() {}
    });
    let options = ClientOptions { reconnect_first_ms: 1, ..ClientOptions::default() };
    let client = timeout(PATIENCE, Client::connect(&url, "token", options)).await.unwrap();
    let brane = timeout(PATIENCE, client.unwrap().join(BRANE)).await.unwrap().unwrap();
    let mut changes = brane.subscribe().await.unwrap();
    while brane.read(|copy| copy.position().epoch.0).await.unwrap_or(0) < 2 {
        timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
    }
    drop((brane, changes));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

/// Whatever speaks WebSocket and is no server of branes.
#[tokio::test]
async fn who_is_cut_before_a_welcome_goes_on_to_the_others_and_is_told() {
    let (impostor, url) = node().await;
    let (server, other) = node().await;
    let cutting = tokio::spawn(async move {
        loop {
            let (stream, _) = impostor.accept().await.unwrap();
            drop(accept_async(stream).await.unwrap());
        }
    });
    let serving = tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        let mut peer = Peer(accept_async(stream).await.unwrap());
        peer.welcome().await;
        while peer.0.next().await.is_some() {}
    });
    let options = ClientOptions { reconnect_first_ms: 1, ..ClientOptions::default() };
    let alone = Client::connect(&url, "token", options.clone());
    let refused = timeout(PATIENCE, alone).await.expect("it tries for ever");
    assert!(matches!(refused, Err(ConnectError::Closed(_))), "{refused:?}");
    let options = ClientOptions { other_addresses: vec![other], ..options };
    let welcomed = timeout(PATIENCE, Client::connect(&url, "token", options)).await.unwrap();
    drop(welcomed.unwrap());
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    cutting.abort();
}

/// A server that fails over each join is not asked again and again at once.
#[tokio::test]
async fn who_is_welcomed_and_cut_comes_back_more_and_more_slowly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut began = None;
        for _ in 0..5 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut peer = Peer(accept_async(stream).await.unwrap());
            peer.welcome().await;
            assert!(matches!(peer.hear().await, ClientMessage::Join(_)));
            began.get_or_insert_with(Instant::now);
        }
        began.unwrap().elapsed()
    });
    let options = ClientOptions { reconnect_first_ms: 100, ..ClientOptions::default() };
    let client = timeout(PATIENCE, Client::connect(&url, "token", options)).await.unwrap();
    let client = client.unwrap();
    let joining = tokio::spawn(async move { client.join(BRANE).await });
    let took = timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(took >= Duration::from_millis(100 + 200 + 400), "five times within {took:?}");
    joining.abort();
}

/// A node: its listener and its address.
async fn node() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

async fn next(listener: &TcpListener) -> Peer {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut peer = Peer(accept_async(stream).await.unwrap());
    peer.welcome().await;
    peer
}

fn edit() -> Edit {
    Edit::One(Operation::Delete { target: Target::Handle(Handle(1)), mode: DeleteMode::Subtree })
}

#[tokio::test]
async fn branes_of_two_nodes_are_served_side_by_side() {
    let ((home, home_url), (other, other_url)) = (node().await, node().await);
    let back = home_url.clone();
    let serving = tokio::spawn(async move {
        let mut at_home = next(&home).await;
        at_home.let_in(Channel(3), 1).await;
        assert!(matches!(at_home.hear().await, ClientMessage::Join(join) if join.brane == OTHER));
        at_home.say(moved_to(&other_url)).await;
        let mut at_other = next(&other).await;
        at_other.let_in(Channel(3), 7).await;
        assert_eq!(at_home.edited().await, (Channel(3), Counter(1)));
        assert_eq!(at_other.edited().await, (Channel(3), Counter(1)));
        // It comes home, with its edit, and over the connection that is there.
        let (code, address) = (Some(Code::Moved), Some(back));
        at_other.say(ServerMessage::Left { channel: Channel(3), code, address }).await;
        let gone = async { while at_other.0.next().await.is_some() {} };
        timeout(PATIENCE, gone).await.unwrap();
        at_home.let_in(Channel(4), 8).await;
        assert_eq!(at_home.edited().await, (Channel(4), Counter(1)));
        // The client is left alone with one connection, and closes that.
        while at_home.0.next().await.is_some() {}
    });
    let client = timeout(PATIENCE, Client::connect(&home_url, "token", ClientOptions::default()));
    let client = client.await.unwrap().unwrap();
    let here = timeout(PATIENCE, client.join(BRANE)).await.unwrap().unwrap();
    let there = timeout(PATIENCE, client.join(OTHER)).await.unwrap().unwrap();
    let epoch = |copy: &mut Replica| copy.position().epoch.0;
    assert_eq!((here.read(epoch).await.unwrap(), there.read(epoch).await.unwrap()), (1, 7));
    let mut changes = there.subscribe().await.unwrap();
    let _edits = (here.submit(edit()).await.unwrap(), there.submit(edit()).await.unwrap());
    while there.read(epoch).await.unwrap_or(0) < 8 {
        timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
    }
    assert_eq!(here.read(epoch).await.unwrap(), 1, "nobody has touched that");
    drop((client, here, there, changes));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_has_nothing_to_do_is_closed() {
    let ((home, home_url), (other, other_url)) = (node().await, node().await);
    let serving = tokio::spawn(async move {
        let mut at_home = next(&home).await;
        at_home.let_in(Channel(3), 1).await;
        for round in 0..2 {
            assert!(
                matches!(at_home.hear().await, ClientMessage::Join(join) if join.brane == OTHER)
            );
            at_home.say(moved_to(&other_url)).await;
            let mut at_other = next(&other).await;
            at_other.let_in(Channel(5), 7 + round).await;
            assert!(matches!(at_other.hear().await, ClientMessage::Leave { .. }));
            at_other
                .say(ServerMessage::Left { channel: Channel(5), code: None, address: None })
                .await;
            let gone = async { while at_other.0.next().await.is_some() {} };
            timeout(PATIENCE, gone).await.unwrap();
        }
        while at_home.0.next().await.is_some() {}
    });
    let client = timeout(PATIENCE, Client::connect(&home_url, "token", ClientOptions::default()));
    let client = client.await.unwrap().unwrap();
    let here = timeout(PATIENCE, client.join(BRANE)).await.unwrap().unwrap();
    for _ in 0..2 {
        let there = timeout(PATIENCE, client.join(OTHER)).await.unwrap().unwrap();
        let mut changes = there.subscribe().await.unwrap();
        there.leave().await.unwrap();
        while !matches!(changes.recv().await, Some(WorldChange::Closed { .. }) | None) {}
    }
    drop((client, here));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

/// The node is dead: the other one serves its brane, a little later.
#[tokio::test]
async fn a_brane_comes_back_if_nobody_is_there() {
    let ((home, home_url), (dead, dead_url)) = (node().await, node().await);
    drop(dead);
    let serving = tokio::spawn(async move {
        let mut at_home = next(&home).await;
        at_home.let_in(Channel(3), 1).await;
        assert!(matches!(at_home.hear().await, ClientMessage::Join(join) if join.brane == OTHER));
        at_home.say(moved_to(&dead_url)).await;
        at_home.let_in(Channel(4), 2).await;
        while at_home.0.next().await.is_some() {}
    });
    let options = ClientOptions { reconnect_first_ms: 1, ..ClientOptions::default() };
    let client = timeout(PATIENCE, Client::connect(&home_url, "token", options)).await.unwrap();
    let client = client.unwrap();
    let here = timeout(PATIENCE, client.join(BRANE)).await.unwrap().unwrap();
    let there = timeout(PATIENCE, client.join(OTHER)).await.unwrap().unwrap();
    assert_eq!(there.read(|copy| copy.position().epoch.0).await.unwrap(), 2);
    drop((client, here, there));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

/// Each says that the other has it: it is asked for again, but not at once.
#[tokio::test]
async fn nodes_that_send_one_to_each_other_are_asked_with_pauses() {
    let ((home, home_url), (other, other_url)) = (node().await, node().await);
    let back = home_url.clone();
    let serving = tokio::spawn(async move {
        let sent_on = async {
            loop {
                let mut peer = next(&other).await;
                if let Some(Ok(_)) = peer.0.next().await {
                    peer.say(moved_to(&back)).await;
                }
            }
        };
        let at_home = async {
            let mut peer = next(&home).await;
            peer.let_in(Channel(3), 1).await;
            for _ in 0..8 {
                assert!(
                    matches!(peer.hear().await, ClientMessage::Join(join) if join.brane == OTHER)
                );
                peer.say(moved_to(&other_url)).await;
            }
            peer.let_in(Channel(4), 9).await;
            while peer.0.next().await.is_some() {}
        };
        tokio::select! { () = sent_on => {}, () = at_home => {} }
    });
    let machine = MachineOptions { join_retry_ms: 100, ..MachineOptions::default() };
    let options = ClientOptions { machine, ..ClientOptions::default() };
    let client = timeout(PATIENCE, Client::connect(&home_url, "token", options)).await.unwrap();
    let client = client.unwrap();
    let here = timeout(PATIENCE, client.join(BRANE)).await.unwrap().unwrap();
    let began = Instant::now();
    let there = timeout(PATIENCE, client.join(OTHER)).await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200), "eight times with two pauses");
    drop((client, here, there));
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

fn moved_to(address: &str) -> ServerMessage {
    ServerMessage::Error(ErrorMessage {
        code: Code::Moved,
        message: String::new(),
        details: None,
        trace: TraceId::from_bytes([2; 16]),
        retry_after_ms: None,
        operation: Some("brane.join".to_owned()),
        channel: None,
        address: Some(address.to_owned()),
    })
}
