//! The network: connections that delay, never reorder, and are cut; sockets
//! that hold so many bytes; outboxes that the server fills.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use avvy_flow::SessionKey;
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use bytes::Bytes;

use crate::env::{Env, Event};

/// A connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ConnId(pub(crate) u64);

/// What the server sends.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Frame(Frame),
    Close(CloseCode),
}

/// The server's queue of one connection, between its sessions, fan-outs and
/// the socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Down>,
    bytes: usize,
    high: usize,
    /// It was found above its mark and has not been drained since.
    full: bool,
    closed: bool,
    gone: bool,
    /// Something was put in since the socket last looked.
    fresh: bool,
}

/// Shared by everyone who sends.
pub(crate) type SharedOutbox = Rc<RefCell<Outbox>>;

impl Outbox {
    /// Queues frames; says whether there is room for more.
    pub(crate) fn send(&mut self, frames: &[Frame]) -> bool {
        if self.gone || self.closed {
            return false;
        }
        // One by one: a socket takes as much of joined frames as it has room for.
        for frame in frames.iter().flat_map(Frame::payloads).map(Frame::binary) {
            self.bytes += frame.as_wire().len();
            self.frames.push_back(Down::Frame(frame));
        }
        self.fresh = true;
        self.full |= self.bytes >= self.high;
        !self.full
    }

    pub(crate) fn close(&mut self, code: CloseCode) {
        if !self.closed {
            self.closed = true;
            self.fresh = true;
            self.frames.push_back(Down::Close(code));
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }
}

/// One connection.
pub(crate) struct Conn {
    pub(crate) client: usize,
    /// The server's end; `None` when the server has let go of it.
    pub(crate) session: Option<SessionKey>,
    pub(crate) outbox: SharedOutbox,
    /// To the server, each with its time of arrival.
    up: VecDeque<(u64, Bytes)>,
    up_last_us: u64,
    /// To the client.
    down: VecDeque<(u64, Down)>,
    down_bytes: usize,
    down_last_us: u64,
    /// Nothing gets through any more.
    cut: bool,
    pub(crate) client_gone: bool,
}

/// All connections.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    last: u64,
}

impl Net {
    /// A new connection.
    pub(crate) fn connect(&mut self, env: &Env, client: usize) -> ConnId {
        self.last += 1;
        let high = env.setup.outbox_high;
        let conn = Conn {
            client,
            session: None,
            outbox: Rc::new(RefCell::new(Outbox { high, ..Outbox::default() })),
            up: VecDeque::new(),
            up_last_us: 0,
            down: VecDeque::new(),
            down_bytes: 0,
            down_last_us: 0,
            cut: false,
            client_gone: false,
        };
        self.conns.insert(ConnId(self.last), conn);
        ConnId(self.last)
    }

    /// The client sends a message.
    pub(crate) fn up(&mut self, env: &mut Env, id: ConnId, message: Vec<u8>) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.cut) else { return };
        let at_us = (env.now_us + delay(env)).max(conn.up_last_us);
        conn.up_last_us = at_us;
        env.testify(&message);
        conn.up.push_back((at_us, message.into()));
        env.at(at_us, Event::ToServer(id));
    }

    /// The next message that has come to the server.
    pub(crate) fn take_up(&mut self, env: &Env, id: ConnId) -> Option<Bytes> {
        let conn = self.conns.get_mut(&id).filter(|conn| !conn.cut)?;
        let (at_us, _) = conn.up.front()?;
        if *at_us > env.now_us {
            return None;
        }
        conn.up.pop_front().map(|(_, message)| message)
    }

    /// The next thing that has come to the client.
    pub(crate) fn take_down(&mut self, env: &mut Env, id: ConnId) -> Option<Down> {
        let conn = self.conns.get_mut(&id).filter(|conn| !conn.cut && !conn.client_gone)?;
        let (at_us, _) = conn.down.front()?;
        if *at_us > env.now_us {
            return None;
        }
        let (_, down) = conn.down.pop_front()?;
        if let Down::Frame(frame) = &down {
            conn.down_bytes -= frame.as_wire().len();
        }
        // The socket has room again.
        conn.outbox.borrow_mut().fresh = true;
        Some(down)
    }

    /// Moves what the sockets take out of the outboxes. Gives the sessions
    /// whose outboxes have drained.
    pub(crate) fn pump(&mut self, env: &mut Env) -> Vec<SessionKey> {
        let mut drained = Vec::new();
        for (id, conn) in &mut self.conns {
            if std::mem::take(&mut conn.outbox.borrow_mut().fresh) && !conn.cut {
                conn.pump(env, *id);
                let mut outbox = conn.outbox.borrow_mut();
                if outbox.full && outbox.bytes <= outbox.high / 2 {
                    outbox.full = false;
                    drained.extend(conn.session);
                }
            }
        }
        drained
    }

    /// Nothing gets through any more; each end finds out by itself.
    pub(crate) fn cut(&mut self, env: &mut Env, id: ConnId, notice_us: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.cut) else { return };
        conn.cut = true;
        conn.up.clear();
        conn.down.clear();
        if !conn.client_gone {
            let after_us = env.rng.below(notice_us);
            env.after(after_us, Event::ClientNotices(id));
        }
        let after_us = env.rng.below(notice_us);
        env.after(after_us, Event::ServerNotices(id));
    }

    /// The server has no more to do with it.
    pub(crate) fn server_lets_go(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.session = None;
            conn.outbox.borrow_mut().gone = true;
        }
        self.sweep(id);
    }

    /// The client has no more to do with it.
    pub(crate) fn client_lets_go(&mut self, env: &mut Env, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.client_gone = true;
            if !conn.cut {
                conn.cut = true;
                let after_us = delay(env);
                env.after(after_us, Event::ServerNotices(id));
            }
        }
        self.sweep(id);
    }

    fn sweep(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|conn| conn.session.is_none() && conn.client_gone) {
            self.conns.remove(&id);
        }
    }
}

impl Conn {
    fn pump(&mut self, env: &mut Env, id: ConnId) {
        let outbox = &mut *self.outbox.borrow_mut();
        while self.down_bytes < env.setup.socket_bytes
            && let Some(down) = outbox.frames.pop_front()
        {
            if let Down::Frame(frame) = &down {
                outbox.bytes -= frame.as_wire().len();
                self.down_bytes += frame.as_wire().len();
                env.testify(frame.as_wire());
            }
            let at_us = (env.now_us + delay(env)).max(self.down_last_us);
            self.down_last_us = at_us;
            self.down.push_back((at_us, down));
            env.at(at_us, Event::ToClient(id));
        }
    }
}

fn delay(env: &mut Env) -> u64 {
    let mean_us = env.setup.delay_us;
    let delay_us = env.rng.exponential(mean_us);
    let spike_ppm = env.setup.spike_ppm;
    if env.rng.ppm(spike_ppm) {
        env.count("network delay spike");
        return delay_us * 100;
    }
    delay_us
}
