//! The rooms, and what belongs in which of them.

/// A crate of the workspace, by the name of its folder.
pub struct Room {
    pub name: &'static str,
    /// The rooms that it may know.
    pub may_know: &'static [&'static str],
    /// Whether it is a pure one: no runtime, no clock, no randomness, no
    /// input or output. Those are arguments, so that it runs in simulation.
    pub is_pure: bool,
}

const fn pure(name: &'static str, may_know: &'static [&'static str]) -> Room {
    Room { name, may_know, is_pure: true }
}

const fn room(name: &'static str, may_know: &'static [&'static str]) -> Room {
    Room { name, may_know, is_pure: false }
}

/// Every room that there is.
pub const ROOMS: &[Room] = &[
    pure("model", &[]),
    pure("brane", &["model"]),
    pure("protocol", &["model"]),
    pure("auth", &["model"]),
    pure("flow", &["model", "brane", "protocol", "auth"]),
    // Without its feature `net` it is pure, too: see `PURE_BY_FEATURE`.
    room("client", &["model", "protocol"]),
    room("persistence", &["model"]),
    room("actors", &["model", "brane", "flow", "protocol", "auth", "persistence"]),
    room("identity", &["model", "auth", "persistence"]),
    room("catalog", &["model", "protocol", "auth", "persistence", "actors"]),
    room("net", &["model", "protocol", "auth", "identity", "catalog", "actors"]),
    room(
        "server",
        &[
            "model",
            "brane",
            "flow",
            "protocol",
            "auth",
            "persistence",
            "identity",
            "catalog",
            "actors",
            "net",
            "client",
        ],
    ),
    room("sim", &["model", "brane", "flow", "protocol", "auth", "client", "persistence"]),
    room(
        "fuzz",
        &[
            "model",
            "brane",
            "protocol",
            "auth",
            "client",
            "persistence",
            "identity",
            "catalog",
            "actors",
            "net",
            "server",
        ],
    ),
    room(
        "bench",
        &["model", "brane", "flow", "protocol", "auth", "client", "persistence", "catalog"],
    ),
    room("xtask", &[]),
];

/// Rooms that have a place in the house and nothing in them yet. Once one is
/// a member of the workspace it moves to [`ROOMS`], with its law.
pub const ROOMS_TO_COME: &[&str] = &["karma", "scripting", "worker"];

/// Rooms that are pure without their default features, and the folders and
/// files in `src/` that those features add.
pub const PURE_BY_FEATURE: &[(&str, &[&str])] =
    &[("client", &["net", "net.rs", "demo", "demo.rs"])];

/// Crates of others that have an owner: only these rooms depend on them.
pub const OWNED: &[(&str, &[&str])] = &[
    // In `bench` it is what the server is compared with.
    ("axum", &["net", "bench"]),
    ("ractor", &["actors", "server"]),
    ("rusqlite", &["persistence"]),
    ("mlua", &["scripting"]),
    ("mongodb", &["persistence"]),
    ("aws-sdk-s3", &["persistence"]),
    ("redis", &["persistence", "worker"]),
];

/// Crates of others that are behind a cargo feature wherever they are.
pub const BEHIND_FEATURES: &[&str] = &["mlua", "mongodb", "aws-sdk-s3", "redis"];

/// Crates of others that are not in the default build, directly or not: a
/// clean build of them takes longer than all the rest.
pub const NOT_BY_DEFAULT: &[&str] = &["mongodb", "aws-sdk-s3", "redis"];

/// Crates of others that no pure room has among its dependencies, direct or
/// not: runtimes, input and output, clocks, randomness.
pub const IMPURE: &[&str] = &[
    "actix-rt",
    "async-io",
    "async-std",
    "axum",
    "chrono",
    "coarsetime",
    "crossbeam-channel",
    "dashmap",
    "fastrand",
    "getrandom",
    "hyper",
    "jiff",
    "minstant",
    "mio",
    "native-tls",
    "parking_lot",
    "quanta",
    "ractor",
    "rand",
    "rand_chacha",
    "rayon",
    "reqwest",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-tungstenite",
    "tungstenite",
    "web-time",
];
