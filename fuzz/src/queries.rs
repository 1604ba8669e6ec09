//! What stands behind the `?` of a request.

use avvy_net::fuzzing;

use crate::{after, api};

/// A query of the route whose number is the first byte.
pub fn query(bytes: &[u8]) {
    let Some((route, query)) = bytes.split_first() else { return };
    if let Ok(query) = str::from_utf8(query) {
        fuzzing::query(*route, query);
    }
}

/// A query with all parameters of each route, and one without any.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for operation in api::operations() {
        let query = operation.query();
        let routes = fuzzing::routes().filter(|(_, path)| *path == operation.path);
        for (route, _) in routes.filter(|_| operation.method == "GET" && !query.is_empty()) {
            seeds.extend([after(route, query.as_bytes()), after(route, b"")]);
        }
    }
    seeds
}
