use super::{Network, Options, Summary, faults};

fn options(network: Network) -> Options {
    let (binary, scratch) = Default::default();
    Options { binary, scratch, network, seconds: 0, branes: 3, clients: 1, seed: 0 }
}

/// All that a trial is for, and no more of it than that.
fn summary(network: Network) -> Summary {
    let faults = faults::names(network).map(|name| (name, 1)).collect();
    let rewinds = usize::from(network == Network::Own);
    Summary { faults, edits: 1, facts: 1, epochs: 4, rewinds, ..Summary::default() }
}

#[test]
fn a_trial_in_which_something_did_not_come_has_failed() {
    for network in [Network::Shared, Network::Own] {
        let options = options(network);
        let whole = summary(network);
        whole.ensure_tried(&options).unwrap();
        for name in faults::names(network) {
            let mut without = whole.clone();
            without.faults.remove(name);
            let told = without.ensure_tried(&options).unwrap_err().to_string();
            assert_eq!(told, format!("these never came: {name}"));
        }
        Summary { edits: 0, ..whole.clone() }.ensure_tried(&options).unwrap_err();
        Summary { facts: 0, ..whole.clone() }.ensure_tried(&options).unwrap_err();
        Summary { epochs: 3, ..whole.clone() }.ensure_tried(&options).unwrap_err();
        let without = Summary { rewinds: 0, ..whole }.ensure_tried(&options);
        assert_eq!(without.is_err(), network == Network::Own);
    }
}
