//! On real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends back what it is sent, and ends when its other side does.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut from = stream.try_clone().unwrap();
                // Ends by a reset, too.
                let _ = io::copy(&mut from, &mut stream);
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn hears(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, text.as_bytes());
}

fn is_reset(mut stream: TcpStream) {
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Waits until the proxy has seen this.
fn until(proxy: &Proxy, seen: impl Fn(Counts) -> bool) {
    let began = Instant::now();
    while !seen(proxy.counts()) {
        assert!(began.elapsed() < PATIENCE, "{:?}", proxy.counts());
        thread::yield_now();
    }
}

#[test]
fn hands_everything_on_and_the_end_too() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    let much: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let sent = much.clone();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == much, "{} bytes of {} came back", heard.len(), much.len());
    until(&proxy, |counts| counts.open == 0);
    let expected = Counts { accepted: 1, passed: 6_000_000, ..Counts::default() };
    assert_eq!(proxy.counts(), expected);
}

#[test]
fn what_is_delayed_arrives_later_and_in_order() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    says(&mut stream, "now");
    hears(&mut stream, "now");
    proxy.set(Way::delayed(Duration::from_millis(60)));
    let began = Instant::now();
    (0..10).for_each(|_| says(&mut stream, "later"));
    (0..10).for_each(|_| hears(&mut stream, "later"));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(120), "{took:?}");
}

#[test]
fn what_is_throttled_is_slow() {
    let proxy = Proxy::start(echo());
    proxy.set(Way::throttled(200_000));
    let mut stream = connect(&proxy);
    let much = "x".repeat(20_000);
    let began = Instant::now();
    // Both times, as the last piece of the first round is paid for then.
    for _ in 0..2 {
        says(&mut stream, &much);
        hears(&mut stream, &much);
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
}

#[test]
fn what_is_held_arrives_when_the_way_is_open_again() {
    let proxy = Proxy::start(echo());
    let mut old = connect(&proxy);
    says(&mut old, "one");
    hears(&mut old, "one");
    proxy.set(Way::Held);
    says(&mut old, "two");
    let mut new = connect(&proxy);
    says(&mut new, "three");
    until(&proxy, |counts| counts.open == 2);
    assert_eq!(proxy.counts().passed, 6);
    proxy.set(Way::CLEAR);
    hears(&mut old, "two");
    hears(&mut new, "three");
    assert_eq!(proxy.counts().reset, 0);
}

#[test]
fn what_is_swallowed_is_gone_and_its_connection_with_it() {
    let proxy = Proxy::start(echo());
    let mut talker = connect(&proxy);
    let mut silent = connect(&proxy);
    for stream in [&mut talker, &mut silent] {
        says(stream, "one");
        hears(stream, "one");
    }
    proxy.set(Way::Swallowing);
    says(&mut talker, "two");
    until(&proxy, |counts| counts.swallowed == 3);
    let late = connect(&proxy);
    until(&proxy, |counts| counts.accepted == 3);
    // Open, and silent.
    assert_eq!((proxy.counts().open, proxy.counts().reset), (3, 0));
    talker.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(talker.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    proxy.set(Way::CLEAR);
    talker.set_read_timeout(Some(PATIENCE)).unwrap();
    is_reset(talker);
    is_reset(late);
    says(&mut silent, "three");
    hears(&mut silent, "three");
}

#[test]
fn what_is_cut_is_reset_until_it_is_healed() {
    let proxy = Proxy::start(echo());
    let mut old = connect(&proxy);
    says(&mut old, "one");
    hears(&mut old, "one");
    proxy.set(Way::Cut);
    is_reset(old);
    is_reset(connect(&proxy));
    proxy.set(Way::CLEAR);
    let mut new = connect(&proxy);
    says(&mut new, "two");
    hears(&mut new, "two");
    assert_eq!(proxy.counts().reset, 2);
}

#[test]
fn a_target_that_is_not_there_resets() {
    // Has the port, and does not listen.
    let gone = tokio::net::TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let proxy = Proxy::start(gone.local_addr().unwrap());
    is_reset(connect(&proxy));
}

#[test]
fn the_slow_reader_slows_the_writer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap());
    let mut stream = connect(&proxy);
    let (_silent, _) = listener.accept().unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let piece = vec![0; 1 << 20];
    // What the proxy holds, and what the kernel does for four sockets.
    let bound = (MAX_PIECES * PIECE + (64 << 20)) >> 20;
    let taken = (0..bound).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(taken < bound, "{taken} MiB were taken");
}

#[test]
fn a_dropped_proxy_drops_its_connections() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    says(&mut stream, "one");
    hears(&mut stream, "one");
    drop(proxy);
    // An end or a reset; never silence.
    assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
}
