//! What is remembered of clients, and for how long.

use avvy_brane::{Admission, Clients, Outcome};
use avvy_model::{ClientId, Code, Counter, EditId, Refusal, Seq, UserId, WorldLimits};

const DAY: u64 = 24 * 3_600_000;

fn client(n: u8) -> ClientId {
    ClientId::from_bytes([n; 16])
}

fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

fn edit(n: u8, counter: u64) -> EditId {
    EditId { client: client(n), counter: Counter(counter) }
}

fn applied(seq: u64) -> Outcome {
    Outcome::Applied(Seq(seq))
}

fn clients() -> Clients {
    Clients::new(&WorldLimits::default())
}

#[test]
fn an_edit_is_new_once_and_known_afterwards() {
    let mut clients = clients();
    assert_eq!(clients.check(edit(1, 1)), Admission::Refused(Code::ClientUnknown));
    clients.admit(client(1), user(1), false, 0).unwrap();
    assert_eq!(clients.check(edit(1, 1)), Admission::New);
    clients.record(edit(1, 1), user(1), applied(9), 0);
    assert_eq!(clients.check(edit(1, 1)), Admission::Known(applied(9)));
    assert_eq!(clients.check(edit(1, 2)), Admission::New);
    // Numbers rise, and need not be dense.
    clients.record(edit(1, 7), user(1), applied(10), 0);
    assert_eq!(clients.check(edit(1, 5)), Admission::Refused(Code::OutcomeUnknown));
    assert_eq!(clients.check(edit(1, 0)), Admission::Refused(Code::OutcomeUnknown));
    assert_eq!(clients.check(edit(1, 8)), Admission::New);
}

#[test]
fn every_outcome_comes_back_as_it_was() {
    let mut clients = clients();
    let mut outcomes = vec![applied(0), applied(1), applied(u64::MAX >> 1)];
    for code in Code::ALL {
        for operation in [None, Some(0), Some(1), Some(u32::MAX)] {
            outcomes.push(Outcome::Refused(Refusal { code: *code, operation }));
        }
    }
    for (outcome, n) in outcomes.iter().zip(1..) {
        clients.record(edit(1, n), user(1), *outcome, 0);
        assert_eq!(clients.check(edit(1, n)), Admission::Known(*outcome));
    }
}

#[test]
fn the_last_256_outcomes_are_known() {
    let mut clients = clients();
    (1..=300).for_each(|n| clients.record(edit(1, n), user(1), applied(n), 0));
    assert_eq!(clients.check(edit(1, 44)), Admission::Refused(Code::OutcomeUnknown));
    assert_eq!(clients.check(edit(1, 45)), Admission::Known(applied(45)));
    assert_eq!(clients.check(edit(1, 300)), Admission::Known(applied(300)));
    assert_eq!(clients.check(edit(1, 301)), Admission::New);
}

#[test]
fn the_first_outcome_of_a_number_stays() {
    let mut clients = clients();
    clients.record(edit(1, 3), user(1), applied(30), 0);
    clients.record(edit(1, 3), user(1), applied(31), 0);
    assert_eq!(clients.check(edit(1, 3)), Admission::Known(applied(30)));
    // Read from the log after a later one was read from a snapshot.
    clients.record(edit(1, 2), user(1), applied(20), 0);
    assert_eq!(clients.check(edit(1, 2)), Admission::Known(applied(20)));
    assert_eq!(clients.check(edit(1, 4)), Admission::New);
}

#[test]
fn a_client_belongs_to_one_user() {
    let mut clients = clients();
    clients.admit(client(1), user(1), false, 0).unwrap();
    assert_eq!(clients.admit(client(1), user(2), false, 0), Err(Code::ClientTaken));
    assert_eq!(clients.admit(client(1), user(2), true, 0), Err(Code::ClientTaken));
    assert_eq!(clients.admit(client(1), user(1), true, 0), Ok(()));
}

#[test]
fn silence_is_forgotten_after_seven_days() {
    let mut clients = clients();
    clients.record(edit(1, 1), user(1), applied(1), 0);
    clients.record(edit(2, 1), user(2), applied(2), DAY);
    clients.forget(7 * DAY);
    assert_eq!(clients.len(), 2);
    clients.forget(7 * DAY + 1);
    assert_eq!(clients.len(), 1);
    assert_eq!(clients.check(edit(1, 1)), Admission::Refused(Code::ClientUnknown));
    assert_eq!(clients.check(edit(1, 2)), Admission::Refused(Code::ClientUnknown));
    // One that says it was known cannot go on; one that begins anew can.
    assert_eq!(clients.admit(client(1), user(1), true, 8 * DAY), Err(Code::ClientUnknown));
    assert_eq!(clients.check(edit(1, 2)), Admission::Refused(Code::ClientUnknown));
    // A join counts as a sign of life.
    clients.admit(client(2), user(2), true, 7 * DAY).unwrap();
    clients.forget(14 * DAY);
    assert_eq!(clients.check(edit(2, 1)), Admission::Known(applied(2)));
    clients.forget(u64::MAX);
    assert!(clients.is_empty());
}

#[test]
fn who_never_wrote_leaves_no_trace() {
    let mut clients = clients();
    clients.admit(client(1), user(1), false, 0).unwrap();
    clients.admit(client(2), user(2), false, 0).unwrap();
    clients.record(edit(2, 1), user(2), applied(1), 0);
    (1..=3).for_each(|n| clients.release(client(n)));
    assert_eq!(clients.len(), 1);
    assert_eq!(clients.check(edit(2, 1)), Admission::Known(applied(1)));
}

#[test]
fn a_copy_stays_as_it_was() {
    let mut clients = clients();
    clients.record(edit(1, 1), user(1), applied(1), 0);
    let copy = clients.clone();
    clients.record(edit(1, 2), user(1), applied(2), 0);
    clients.record(edit(2, 1), user(2), applied(3), 0);
    assert_eq!(copy.check(edit(1, 2)), Admission::New);
    assert_eq!(copy.len(), 1);
    assert_ne!(copy, clients);
}
