//! What is remembered of clients, and for how long.

use avvy_brane::{Admission, Clients, Outcome};
use avvy_model::{ClientId, Code, Counter, EditId, Refusal, Seq, UserId, WorldLimits};
use proptest::prelude::*;

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
    clients.release(client(2), 7 * DAY);
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
    (1..=3).for_each(|n| clients.release(client(n), 0));
    assert_eq!(clients.len(), 1);
    assert_eq!(clients.check(edit(2, 1)), Admission::Known(applied(1)));
}

#[test]
fn who_is_here_is_not_forgotten() {
    let mut clients = clients();
    for _ in 0..2 {
        clients.admit(client(1), user(1), false, 0).unwrap();
    }
    clients.record(edit(1, 1), user(1), applied(1), 0);
    clients.release(client(1), DAY);
    clients.forget(20 * DAY);
    assert_eq!(clients.check(edit(1, 1)), Admission::Known(applied(1)));
    clients.release(client(1), 21 * DAY);
    // One more release than there were sessions changes nothing.
    clients.release(client(1), 40 * DAY);
    clients.forget(28 * DAY);
    assert_eq!(clients.len(), 1);
    clients.forget(28 * DAY + 1);
    assert!(clients.is_empty());
}

fn few() -> Clients {
    Clients::new(&WorldLimits { clients_per_user: 3, ..WorldLimits::default() })
}

/// As a request does: in, one edit, out.
fn write(clients: &mut Clients, n: u8, by: u8, counter: u64, ms: u64) {
    clients.admit(client(n), user(by), false, ms).unwrap();
    clients.record(edit(n, counter), user(by), applied(counter), ms);
    clients.release(client(n), ms);
}

#[test]
fn of_a_users_clients_the_silent_ones_make_room() {
    let mut clients = few();
    (1..=3).for_each(|n| write(&mut clients, n, 1, 1, n.into()));
    write(&mut clients, 9, 2, 1, 4);
    write(&mut clients, 1, 1, 2, 5);
    clients.admit(client(2), user(1), true, 6).unwrap();
    write(&mut clients, 4, 1, 1, 7);
    write(&mut clients, 5, 1, 1, 8);
    // 3 was silent for the longest; 2 is here, and does not count.
    assert_eq!(clients.admit(client(3), user(1), true, 9), Err(Code::ClientUnknown));
    assert_eq!(clients.check(edit(3, 1)), Admission::Refused(Code::ClientUnknown));
    let known = |clients: &Clients, n| clients.check(edit(n, 1)) == Admission::Known(applied(1));
    assert!([1, 2, 4, 5, 9].into_iter().all(|n| known(&clients, n)));
    clients.release(client(2), 9);
    assert_eq!(clients.check(edit(1, 1)), Admission::Refused(Code::ClientUnknown));
    assert!([2, 4, 5, 9].into_iter().all(|n| known(&clients, n)));
}

/// A transfer of a user, by its number.
fn transfer(n: u32, counter: u64) -> (EditId, UserId) {
    let mut bytes = [0x41; 16];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    let user = UserId::from_bytes(bytes);
    (EditId { client: ClientId::of_transfers(user), counter: Counter(counter) }, user)
}

/// As long as it has not ended, somebody has to be told what became of it.
#[test]
fn neither_silence_nor_other_clients_have_a_transfer_forgotten() {
    let mut clients = few();
    let (id, by) = transfer(1, 7);
    clients.admit(id.client, by, false, 0).unwrap();
    clients.record(id, by, applied(1), 0);
    clients.release(id.client, 0);
    for n in 1..=9 {
        let other = edit(n, 1);
        clients.admit(other.client, by, false, n.into()).unwrap();
        clients.record(other, by, applied(1 + u64::from(n)), n.into());
        clients.release(other.client, n.into());
    }
    assert_eq!(clients.len(), 4);
    clients.forget(100 * DAY);
    assert_eq!(clients.len(), 1);
    assert_eq!(clients.check(id), Admission::Known(applied(1)));
    // The user's next one is under the same id.
    let (next, _) = transfer(1, 8);
    assert_eq!(clients.check(next), Admission::New);
    clients.admit(next.client, by, false, 100 * DAY).unwrap();
    clients.record(next, by, applied(20), 100 * DAY);
    clients.release(next.client, 100 * DAY);
    assert_eq!(clients.check(next), Admission::Known(applied(20)));
    assert_eq!(clients.len(), 1);
}

#[test]
fn of_transfers_those_of_the_last_65536_users_are_known() {
    let mut clients = few();
    for n in 0..65_538_u32 {
        let (id, by) = transfer(n, 1);
        clients.record(id, by, applied(u64::from(n) + 1), n.into());
    }
    assert_eq!(clients.len(), 65_536);
    let known = |n: u32| clients.check(transfer(n, 1).0);
    assert_eq!(known(1), Admission::Refused(Code::ClientUnknown));
    assert_eq!(known(2), Admission::Known(applied(3)));
    assert_eq!(known(65_537), Admission::Known(applied(65_538)));
}

proptest! {
    /// Requests of two users under six ids each: remembered are those that
    /// wrote last, and the same when the log is read again.
    #[test]
    fn the_log_says_who_is_remembered(
        requests in proptest::collection::vec((0..2u8, 0..6u8, 1..4u64), 1..80)
    ) {
        let (mut live, mut read) = (few(), few());
        let mut last: [Vec<u8>; 2] = Default::default();
        let mut ms = 0;
        for ((by, n, pause_ms), counter) in requests.into_iter().zip(1..) {
            ms += pause_ms;
            let n = 10 * by + n + 1;
            write(&mut live, n, by, counter, ms);
            read.record(edit(n, counter), user(by), applied(counter), ms);
            let wrote = &mut last[usize::from(by)];
            wrote.retain(|other| *other != n);
            wrote.push(n);
            let newest = |wrote: &Vec<u8>| wrote.iter().rev().take(3).copied().collect::<Vec<_>>();
            let mut expected: Vec<_> = last.iter().flat_map(newest).collect();
            expected.sort_unstable();
            for clients in [&live, &read] {
                prop_assert_eq!(clients.check(edit(n, counter)), Admission::Known(applied(counter)));
                let unknown = Admission::Refused(Code::ClientUnknown);
                let known = (1..=20).filter(|n| clients.check(edit(*n, 0)) != unknown);
                prop_assert_eq!(known.collect::<Vec<_>>(), expected.clone());
            }
        }
    }
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
