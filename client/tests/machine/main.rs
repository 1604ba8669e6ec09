//! The machine, told by hand what a server says.

mod areas;
mod copies;
mod moved;
mod people;
mod steps;

use avvy_client::machine::{
    ClientMachine, CloseReason, Input, MachineOptions, Notify, Output, SubmitError, Ticket,
};
use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, Epoch, Handle, Kind, Object, ObjectAt,
    ObjectId, Operation, Position, Props, Refusal, Role, Seq, Target, TraceId, Transform, UserId,
};
use avvy_protocol::{
    CatchUp, Channel, ClientMessage, ErrorMessage, Join, Joined, RefusedEdit, ServerMessage,
    SnapshotPart, VERSION, Welcome,
};

const BRANE: BraneId = BraneId::from_bytes([1; 16]);
const OTHER: BraneId = BraneId::from_bytes([2; 16]);
const HOUR_S: u64 = 3_600;

/// A machine with what it has said.
struct Talk {
    machine: ClientMachine,
    out: Vec<Output>,
    now_ms: u64,
}

impl Talk {
    fn new(options: MachineOptions) -> Self {
        let mut drawn = 0;
        let draw = Box::new(move || {
            drawn += 1;
            ClientId::from_bytes([drawn; 16])
        });
        let machine = ClientMachine::new(options, "token".to_owned(), draw);
        Self { machine, out: Vec::new(), now_ms: 1_000 }
    }

    /// Connected, welcomed and joined at 1.0 with a copy of the root.
    fn joined() -> Self {
        let mut talk = Self::new(MachineOptions::default());
        talk.connect();
        talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
        talk.let_in(at(1, 0), 0, CatchUp::Snapshot);
        talk.root(at(1, 0));
        talk.out.clear();
        talk
    }

    /// The same over TLS.
    fn joined_by_tls() -> Self {
        let mut talk = Self::joined();
        talk.tell(Input::Disconnected);
        talk.connect_by(true);
        talk.let_in(at(1, 0), 0, CatchUp::Replay);
        talk.out.clear();
        talk
    }

    fn connect(&mut self) {
        self.connect_by(false);
    }

    fn connect_by(&mut self, is_secure: bool) {
        self.tell(Input::Connected { is_secure });
        self.hear(welcome());
    }

    fn cut(&mut self) {
        self.tell(Input::Disconnected);
        self.out.clear();
        self.connect();
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.now_ms, input, &mut self.out);
    }

    fn hear(&mut self, message: ServerMessage) {
        self.tell(Input::Message(message));
    }

    fn let_in(&mut self, head: Position, durable: u64, catch_up: CatchUp) {
        self.hear(ServerMessage::Joined(joined(BRANE, head, durable, catch_up)));
    }

    fn root(&mut self, at: Position) {
        let root = Object {
            id: ObjectId::from_bytes([1; 16]),
            parent: Handle::ROOT,
            kind: Kind::Group,
            owner: UserId::from_bytes([7; 16]),
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        let objects = vec![ObjectAt { handle: Handle::ROOT, object: root }];
        let channel = Channel(5);
        let part = SnapshotPart { channel, at, index: 0, last: true, objects, gone: vec![] };
        self.hear(ServerMessage::Snapshot(part));
    }

    fn submit(&mut self) -> Ticket {
        self.submit_edit(edit())
    }

    fn submit_edit(&mut self, edit: Edit) -> Ticket {
        let taken = self.machine.submit(self.now_ms, BRANE, edit, &mut self.out);
        taken.expect("the brane is joined")
    }

    fn applied(&mut self, edits: &[(u64, u64)]) {
        let edits = edits.iter().map(|(n, seq)| (Counter(*n), Seq(*seq))).collect();
        self.hear(ServerMessage::Applied { channel: Channel(5), edits });
    }

    fn refused(&mut self, n: u64, code: Code) {
        let edits = vec![RefusedEdit { counter: Counter(n), code, operation: None }];
        self.hear(ServerMessage::Refused { channel: Channel(5), edits });
    }

    fn durable(&mut self, at: Position) {
        self.hear(ServerMessage::Durable { channel: Channel(5), durable: at });
    }

    /// The numbers of the edits sent since the last look.
    fn sent(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        for output in self.out.drain(..) {
            if let Output::Send(ClientMessage::Update(update)) = output {
                numbers.extend(update.edits.iter().map(|edit| edit.counter.0));
            }
        }
        numbers
    }

    fn joins(&mut self) -> Vec<Join> {
        let joins = self.out.drain(..).filter_map(|output| match output {
            Output::Send(ClientMessage::Join(join)) => Some(join),
            _ => None,
        });
        joins.collect()
    }

    /// What the user was told of edits, in short.
    fn news(&mut self) -> Vec<(u64, &'static str)> {
        let news = self.out.drain(..).filter_map(|output| match output {
            Output::Notify(Notify::Applied { ticket, .. }) => Some((ticket.0, "applied")),
            Output::Notify(Notify::Durable { ticket, .. }) => Some((ticket.0, "durable")),
            Output::Notify(Notify::Refused { ticket, .. }) => Some((ticket.0, "refused")),
            Output::Notify(Notify::Unknown { ticket, .. }) => Some((ticket.0, "unknown")),
            _ => None,
        });
        news.collect()
    }
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn edit() -> Edit {
    let target = Target::Handle(Handle(9));
    Edit::One(Operation::Delete { target, mode: DeleteMode::Subtree })
}

fn welcome() -> ServerMessage {
    ServerMessage::Welcome(Welcome {
        version: VERSION,
        session: TraceId::from_bytes([3; 16]),
        user: UserId::from_bytes([7; 16]),
        heartbeat_ms: 10_000,
        max_message_bytes: 4_096,
        max_edits_in_flight: 4,
        max_channels: 8,
        expires: 0,
        ms: 0,
    })
}

fn joined(brane: BraneId, head: Position, durable: u64, catch_up: CatchUp) -> Joined {
    Joined {
        channel: Channel(5),
        brane,
        role: Role::Builder.into(),
        head,
        durable: Seq(durable),
        catch_up,
        scope: None,
        client_memory_s: HOUR_S,
    }
}

fn join_error(code: Code) -> ServerMessage {
    ServerMessage::Error(ErrorMessage {
        code,
        message: String::new(),
        details: None,
        trace: TraceId::from_bytes([3; 16]),
        retry_after_ms: Some(700),
        operation: Some("brane.join".to_owned()),
        channel: None,
        address: None,
    })
}

#[test]
fn edits_are_sent_as_far_as_the_server_takes_them() {
    let mut talk = Talk::joined();
    for _ in 0..6 {
        talk.submit();
    }
    assert_eq!(talk.sent(), [1, 2, 3, 4], "four may be under way");
    talk.applied(&[(1, 1), (2, 2)]);
    assert_eq!(talk.sent(), [5, 6]);
}

#[test]
fn a_batch_counts_for_each_of_its_operations() {
    let mut talk = Talk::joined();
    let batch = |n| Edit::Batch(vec![edit().operations()[0].clone(); n]);
    for edit in [batch(2), batch(3), edit(), batch(5)] {
        talk.submit_edit(edit);
    }
    assert_eq!(talk.sent(), [1], "four operations may be under way, and the order stays");
    talk.applied(&[(1, 1)]);
    assert_eq!(talk.sent(), [2, 3]);
    assert_eq!(talk.machine.edits(BRANE).count(), 3, "five at once are never let in");
}

#[test]
fn edits_end_durable_or_refused() {
    let mut talk = Talk::joined();
    for _ in 0..3 {
        talk.submit();
    }
    talk.out.clear();
    talk.refused(2, Code::ObjectNotFound);
    talk.applied(&[(1, 1), (3, 2)]);
    assert_eq!(talk.news(), [(2, "refused"), (1, "applied"), (3, "applied")]);
    talk.durable(at(1, 1));
    assert_eq!(talk.news(), [(1, "durable")]);
    talk.durable(at(1, 2));
    assert_eq!(talk.news(), [(3, "durable")]);
    assert_eq!(talk.machine.edits(BRANE).count(), 0);
}

#[test]
fn what_is_not_durable_is_sent_again_under_its_number() {
    let mut talk = Talk::joined();
    for _ in 0..3 {
        talk.submit();
    }
    talk.applied(&[(1, 1), (2, 2)]);
    talk.durable(at(1, 1));
    talk.cut();
    let joins = talk.joins();
    assert!(joins[0].known, "one was durable");
    assert_eq!(joins[0].resume.as_ref().map(|resume| resume.version), Some(at(1, 0)));
    talk.let_in(at(2, 1), 1, CatchUp::Replay);
    talk.submit();
    assert_eq!(talk.sent(), [2, 3, 4], "in order, new ones last");
    talk.applied(&[(2, 2), (3, 3), (4, 4)]);
    assert_eq!(talk.news(), [(3, "applied"), (4, "applied")], "2 is where it was");
}

#[test]
fn a_rewind_says_what_is_lost_and_brings_it_back() {
    let mut talk = Talk::joined();
    let ticket = talk.submit();
    talk.applied(&[(1, 1)]);
    talk.cut();
    talk.out.clear();
    talk.let_in(at(2, 0), 0, CatchUp::Diff);
    assert_eq!(talk.sent(), [1]);
    talk.hear(ServerMessage::Rewind { channel: Channel(5), to: at(1, 0) });
    let rewound = talk.out.drain(..).find_map(|output| match output {
        Output::Notify(Notify::Rewound { to, lost, .. }) => Some((to, lost)),
        _ => None,
    });
    assert_eq!(rewound, Some((at(1, 0), vec![ticket])));
    talk.applied(&[(1, 1)]);
    assert_eq!(talk.news(), [(1, "applied")], "it is in the log again");
}

#[test]
fn what_the_server_may_have_forgotten_is_not_sent_again() {
    let mut talk = Talk::joined();
    talk.submit();
    talk.now_ms += HOUR_S * 1_000 / 2;
    talk.submit();
    talk.tell(Input::Disconnected);
    talk.now_ms += HOUR_S * 1_000 / 2;
    talk.connect();
    talk.out.clear();
    talk.let_in(at(1, 0), 0, CatchUp::Replay);
    let out = std::mem::take(&mut talk.out);
    let unknown = out.iter().filter_map(|output| match output {
        Output::Notify(Notify::Unknown { ticket, .. }) => Some(ticket.0),
        _ => None,
    });
    assert_eq!(unknown.collect::<Vec<_>>(), [1]);
    talk.out = out;
    assert_eq!(talk.sent(), [2]);
}

#[test]
fn a_forgotten_client_goes_on_under_another_name() {
    let mut talk = Talk::joined();
    for _ in 0..5 {
        talk.submit();
    }
    talk.cut();
    let first = talk.joins()[0].client;
    talk.hear(join_error(Code::ClientUnknown));
    let out = std::mem::take(&mut talk.out);
    let joins = out.iter().filter_map(|output| match output {
        Output::Send(ClientMessage::Join(join)) => Some((join.client, join.known)),
        _ => None,
    });
    let joins: Vec<_> = joins.collect();
    assert_eq!(joins.len(), 1);
    assert_ne!(joins[0].0, first);
    assert!(!joins[0].1);
    talk.out = out;
    let unknown: Vec<_> = (1..=4).map(|n| (n, "unknown")).collect();
    assert_eq!(talk.news(), unknown, "the fifth was never sent");
    talk.let_in(at(1, 0), 0, CatchUp::Replay);
    assert_eq!(talk.sent(), [1], "numbered anew");
}

#[test]
fn an_outcome_that_is_no_longer_known_is_told_so() {
    let mut talk = Talk::joined();
    talk.submit();
    talk.refused(1, Code::OutcomeUnknown);
    assert_eq!(talk.news(), [(1, "unknown")]);
}

#[test]
fn numbers_stay_within_what_the_server_remembers() {
    let options = MachineOptions { outcomes_remembered: 3, ..MachineOptions::default() };
    let mut talk = Talk::new(options);
    talk.connect();
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.let_in(at(1, 0), 0, CatchUp::Snapshot);
    for _ in 0..5 {
        talk.submit();
    }
    assert_eq!(talk.sent(), [1, 2, 3]);
    talk.applied(&[(1, 1), (2, 2), (3, 3)]);
    assert_eq!(talk.sent(), [0; 0], "1 may still be lost");
    talk.durable(at(1, 2));
    assert_eq!(talk.sent(), [4, 5]);
}

#[test]
fn an_edit_too_large_for_a_message_is_refused_at_once() {
    let mut talk = Talk::joined();
    let operation =
        Operation::Delete { target: Target::Handle(Handle(9)), mode: DeleteMode::Subtree };
    let batch = Edit::Batch(vec![operation; 100]);
    let ticket = talk.machine.submit(talk.now_ms, BRANE, batch, &mut talk.out);
    talk.submit();
    let refused = talk.out.iter().find_map(|output| match output {
        Output::Notify(Notify::Refused { ticket, refusal, .. }) => Some((*ticket, *refusal)),
        _ => None,
    });
    assert_eq!(refused, ticket.ok().map(|ticket| (ticket, Refusal::from(Code::TooLarge))));
    assert_eq!(talk.sent(), [1], "it has no number");
}

#[test]
fn joins_go_one_by_one_and_do_not_spin() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.machine.join(talk.now_ms, OTHER, &mut talk.out);
    assert_eq!(talk.joins().len(), 1);
    assert!(talk.machine.wakes_at() > Some(talk.now_ms), "nothing is to be done now");
    talk.let_in(at(1, 0), 0, CatchUp::Snapshot);
    assert_eq!(talk.joins()[0].brane, OTHER);
}

#[test]
fn a_join_that_may_succeed_later_is_tried_again() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.out.clear();
    talk.hear(join_error(Code::Unavailable));
    assert_eq!(talk.joins().len(), 0);
    assert_eq!(talk.machine.wakes_at(), Some(talk.now_ms + 700), "as the server said");
    talk.now_ms += 700;
    talk.tell(Input::Tick);
    assert_eq!(talk.joins().len(), 1);
    talk.hear(join_error(Code::NotFound));
    assert_eq!(
        talk.machine.submit(talk.now_ms, BRANE, edit(), &mut talk.out),
        Err(SubmitError::NotJoined)
    );
}

#[test]
fn a_brane_that_pauses_is_joined_again_with_its_edits() {
    let mut talk = Talk::joined();
    talk.submit();
    talk.out.clear();
    talk.hear(ServerMessage::Left {
        channel: Channel(5),
        code: Some(Code::Unavailable),
        address: None,
    });
    talk.refused(1, Code::NotJoined);
    talk.now_ms += 1_000;
    talk.tell(Input::Tick);
    assert_eq!(talk.joins().len(), 1);
    talk.let_in(at(2, 0), 0, CatchUp::Replay);
    assert!(talk.machine.is_live(BRANE), "nothing is missing, whatever the epoch");
    assert_eq!(talk.sent(), [1], "being refused for that is no outcome");
}

#[test]
fn a_late_start_is_not_the_answer_to_a_later_join() {
    let mut talk = Talk::joined();
    talk.machine.leave(talk.now_ms, BRANE, &mut talk.out);
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.out.clear();
    talk.let_in(at(1, 9), 9, CatchUp::Diff);
    assert!(!talk.machine.is_live(BRANE));
    assert_eq!(talk.joins().len(), 0);
    talk.hear(ServerMessage::Left { channel: Channel(5), code: None, address: None });
    assert_eq!(talk.joins().len(), 1, "now");
}

#[test]
fn a_dead_connection_is_given_up() {
    let mut talk = Talk::joined();
    assert_eq!(talk.machine.wakes_at(), Some(talk.now_ms + 10_000));
    talk.now_ms += 10_000;
    talk.tell(Input::Tick);
    let pings = talk.out.iter().any(|o| matches!(o, Output::Send(ClientMessage::Ping { .. })));
    assert!(pings, "something has to be said in time");
    talk.now_ms += 20_000;
    talk.out.clear();
    talk.tell(Input::Tick);
    assert!(matches!(talk.out[..], [Output::Close(CloseReason::Silence)]));

    let mut talk = Talk::joined();
    talk.submit();
    talk.out.clear();
    for _ in 0..3 {
        talk.now_ms += 10_000;
        talk.hear(ServerMessage::Pong { nonce: 0, ms: 0 });
        talk.tell(Input::Tick);
    }
    let closes = talk.out.iter().any(|o| matches!(o, Output::Close(CloseReason::AnswerTimeout)));
    assert!(closes, "an edit without an outcome for 30 s");
}
