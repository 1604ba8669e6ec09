//! Which node of a fleet to connect to.

/// Addresses that are kept.
const MAX_KNOWN: usize = 16;
/// Nodes one is sent to, one after another, before that counts as being lost.
const MAX_HOPS: u32 = 3;

/// The way to a brane: the addresses that are known, and where the server says
/// that the brane is.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Never empty.
    known: Vec<String>,
    /// Which of them is tried.
    at: usize,
    /// Where the brane is said to be.
    told: Option<String>,
    /// What was told is not asked about again before this time, if nobody is
    /// there.
    back_at_ms: u64,
    /// How often one was sent on without getting there.
    hops: u32,
    /// Attempts that failed since the last that did not.
    failures: usize,
}

impl Route {
    pub(super) fn new(address: String, others: Vec<String>) -> Self {
        let known = std::iter::once(address).chain(others);
        let known = known.map(|address| websocket(&address)).collect();
        Self { known, at: 0, told: None, back_at_ms: 0, hops: 0, failures: 0 }
    }

    /// The way to another brane, which is there.
    pub(super) fn beside(&self, address: &str, back_at_ms: u64) -> Self {
        let mut route = Self { hops: 0, failures: 0, ..self.clone() };
        route.go(address, back_at_ms);
        route
    }

    /// What to connect to.
    pub(super) fn address(&self) -> &str {
        let known = self.known.get(self.at).or(self.known.first());
        self.told.as_deref().or(known.map(String::as_str)).unwrap_or_default()
    }

    /// Whether there is another address to try.
    pub(super) fn has_others(&self) -> bool {
        self.told.is_some() || self.known.len() > 1
    }

    /// The brane is there. True when one is sent about without arriving.
    pub(super) fn go(&mut self, address: &str, back_at_ms: u64) -> bool {
        let address = websocket(address);
        if !self.known.contains(&address) && self.known.len() < MAX_KNOWN {
            self.known.push(address.clone());
        }
        (self.told, self.back_at_ms) = (Some(address), back_at_ms);
        self.hops += 1;
        self.hops > MAX_HOPS
    }

    /// Somebody is there, and welcomes.
    pub(super) fn reached(&mut self) {
        self.failures = 0;
    }

    /// Whether every address was tried in vain.
    pub(super) fn has_tried_all(&self) -> bool {
        self.failures >= self.known.len()
    }

    /// The brane is where one is.
    pub(super) fn arrived(&mut self) {
        self.hops = 0;
    }

    /// The address cannot be reached: another one is next. Gives the time
    /// before which asking there is of no use.
    pub(super) fn failed(&mut self) -> u64 {
        if self.told.take().is_some() {
            return std::mem::take(&mut self.back_at_ms);
        }
        self.failures += 1;
        self.at = (self.at + 1) % self.known.len().max(1);
        0
    }
}

/// The WebSocket of a node.
pub(super) fn websocket(address: &str) -> String {
    let base = match address.split_once("://") {
        Some(("http", host)) => format!("ws://{host}"),
        Some(("https", host)) => format!("wss://{host}"),
        _ => return address.to_owned(),
    };
    format!("{}/ws", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_where_it_is_told_and_back() {
        let mut route = Route::new("ws://one/ws".to_owned(), vec!["http://two".to_owned()]);
        assert_eq!(route.address(), "ws://one/ws");
        assert!(!route.go("https://three/", 700));
        assert_eq!(route.address(), "wss://three/ws");
        assert_eq!(route.failed(), 700, "the brane is taken by then");
        assert_eq!(route.address(), "ws://one/ws");
        let next: Vec<String> = (0..3)
            .map(|_| {
                assert_eq!(route.failed(), 0);
                route.address().to_owned()
            })
            .collect();
        assert_eq!(next, ["ws://two/ws", "wss://three/ws", "ws://one/ws"]);
    }

    #[test]
    fn nodes_that_send_one_to_each_other_are_not_followed_without_end() {
        let mut route = Route::new("ws://one/ws".to_owned(), Vec::new());
        let lost =
            |route: &mut Route| (0..5).map(|_| route.go("ws://two/ws", 0)).collect::<Vec<_>>();
        assert_eq!(lost(&mut route), [false, false, false, true, true]);
        route.arrived();
        assert!(!route.go("ws://one/ws", 0));
    }

    #[test]
    fn few_addresses_are_learned() {
        let mut route = Route::new("ws://one/ws".to_owned(), Vec::new());
        assert!(!route.has_others());
        for nth in 0..100 {
            route.go(&format!("http://node{nth}"), 0);
        }
        assert_eq!(route.known.len(), MAX_KNOWN);
    }
}
