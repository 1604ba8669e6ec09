//! Branes that are at another node.

use super::*;

fn moved(address: Option<&str>) -> ServerMessage {
    let ServerMessage::Error(error) = join_error(Code::Moved) else { unreachable!() };
    ServerMessage::Error(ErrorMessage { address: address.map(str::to_owned), ..error })
}

impl Talk {
    /// Where the machine wants to go, and for how long nobody may be there.
    fn goes(&self) -> Vec<(&str, Option<u64>)> {
        let goes = self.out.iter().filter_map(|output| match output {
            Output::Go { address, retry_after_ms } => Some((address.as_str(), *retry_after_ms)),
            Output::Send(_) | Output::Notify(_) | Output::Close(_) | Output::Part { .. } => None,
        });
        goes.collect()
    }

    /// What it would let another machine have, and where.
    fn parts(&self) -> Vec<(BraneId, &str)> {
        let parts = self.out.iter().filter_map(|output| match output {
            Output::Part { brane, address, .. } => Some((*brane, address.as_str())),
            Output::Send(_) | Output::Notify(_) | Output::Close(_) | Output::Go { .. } => None,
        });
        parts.collect()
    }

    /// What it does not go to, as others could read along.
    fn downgrades(&self) -> Vec<(BraneId, &str)> {
        let told = self.out.iter().filter_map(|output| match output {
            Output::Notify(Notify::Downgrade { brane, address }) => {
                Some((*brane, address.as_str()))
            }
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn a_join_at_the_wrong_node_is_followed() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.out.clear();
    talk.hear(moved(Some("http://two:7878")));
    assert_eq!(talk.goes(), [("http://two:7878", Some(700))]);
    // What comes until the connection is closed is of no interest.
    talk.out.clear();
    talk.hear(moved(Some("http://three:7878")));
    assert_eq!(talk.goes(), []);
    talk.cut();
    assert_eq!(talk.joins().len(), 1, "at once");
}

#[test]
fn a_brane_that_moves_takes_copy_and_edits_along() {
    let mut talk = Talk::joined();
    talk.submit();
    talk.submit();
    talk.applied(&[(1, 1)]);
    talk.out.clear();
    let address = Some("https://two".to_owned());
    let code = Some(Code::Moved);
    talk.hear(ServerMessage::Left { channel: Channel(5), code, address });
    assert_eq!(talk.goes(), [("https://two", None)]);
    talk.submit();
    talk.cut();
    let joins = talk.joins();
    assert_eq!(joins[0].resume.as_ref().map(|resume| resume.version), Some(at(1, 0)));
    talk.let_in(at(2, 1), 1, CatchUp::Replay);
    assert_eq!(talk.sent(), [1, 2, 3], "whatever was not durable, under the same numbers");
}

#[test]
fn a_brane_that_moves_waits_while_another_is_served_here() {
    let mut talk = Talk::joined();
    talk.machine.join(talk.now_ms, OTHER, &mut talk.out);
    talk.out.clear();
    talk.hear(moved(Some("http://two")));
    assert_eq!((talk.goes(), talk.parts()), (vec![], vec![(OTHER, "http://two")]));
    talk.now_ms += 700;
    talk.tell(Input::Tick);
    assert_eq!(talk.joins().len(), 1, "it is asked for again");
    talk.machine.leave(talk.now_ms, BRANE, &mut talk.out);
    talk.hear(ServerMessage::Left { channel: Channel(5), code: None, address: None });
    talk.hear(moved(Some("http://two")));
    assert_eq!(talk.goes(), [("http://two", Some(700))]);
}

/// What came by TLS goes nowhere without it: the brane is given up, and what
/// becomes of its edits is told.
#[test]
fn a_brane_that_goes_where_others_can_read_is_given_up() {
    let mut talk = Talk::joined_by_tls();
    for _ in 0..5 {
        talk.submit();
    }
    assert_eq!(talk.sent(), [1, 2, 3, 4], "the last one waits");
    let (code, address) = (Some(Code::Moved), Some("http://two".to_owned()));
    talk.hear(ServerMessage::Left { channel: Channel(5), code, address });
    assert_eq!((talk.goes(), talk.parts()), (vec![], vec![]));
    assert_eq!(talk.downgrades(), [(BRANE, "http://two")]);
    let unknown = (1..5).map(|n| (n, "unknown"));
    assert_eq!(talk.news(), unknown.chain([(5, "refused")]).collect::<Vec<_>>());
    talk.now_ms += 60_000;
    talk.tell(Input::Tick);
    assert_eq!(talk.joins().len(), 0, "it is not asked for again");
}

#[test]
fn what_came_by_tls_follows_to_tls_alone() {
    for (address, follows) in [("https://two", true), ("wss://two/ws", true), ("ws://two", false)] {
        let mut talk = Talk::joined_by_tls();
        talk.machine.join(talk.now_ms, OTHER, &mut talk.out);
        talk.out.clear();
        talk.hear(moved(Some(address)));
        let (parts, downgrades) = (talk.parts(), talk.downgrades());
        let told = vec![(OTHER, address)];
        let expected = if follows { (told, vec![]) } else { (vec![], told) };
        assert_eq!((parts, downgrades), expected);
    }
}

#[test]
fn a_brane_that_moved_nobody_says_where_is_asked_for_again() {
    let mut talk = Talk::joined();
    let code = Some(Code::Moved);
    talk.hear(ServerMessage::Left { channel: Channel(5), code, address: None });
    assert_eq!(talk.goes(), []);
    talk.out.clear();
    talk.now_ms += 1_000;
    talk.tell(Input::Tick);
    assert_eq!(talk.joins().len(), 1);
}

/// Nobody counts beyond the end of time for a server that says so.
#[test]
fn a_join_that_is_put_off_for_ever_is() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.out.clear();
    let ServerMessage::Error(error) = join_error(Code::Unavailable) else { unreachable!() };
    talk.hear(ServerMessage::Error(ErrorMessage { retry_after_ms: Some(u64::MAX), ..error }));
    assert_eq!(talk.joins().len(), 0, "not at once");
}
