//! What the command line understands.

use std::net::SocketAddr;
use std::path::PathBuf;

use avvy_model::{BraneId, Role, UserId};
use clap::{Args, Parser, Subcommand};

use crate::config::Argument;

/// A server of shared 3D worlds that many people edit at once.
#[derive(Parser, Debug, PartialEq)]
#[command(
    name = "avvyland",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  avvyland serve                            serve on 127.0.0.1:7878, data in ./data
  avvyland demo --users 200                 200 simulated builders against it
  avvyland watch                            what happens in the demo brane, as JSON
  avvyland token --role visitor --hours 1   a token that only lets its bearer look
  avvyland inspect                          what the data directory holds, verified
  avvyland migrate --from data --to mongodb move it into MongoDB"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug, PartialEq)]
pub enum Command {
    /// Run the server until Ctrl-C
    #[command(long_about = SERVE_ABOUT)]
    Serve(Serve),
    /// Simulate builders against a running server
    #[command(long_about = DEMO_ABOUT)]
    Demo(Demo),
    /// Show what happens in a brane
    #[command(long_about = WATCH_ABOUT)]
    Watch(Watch),
    /// Make a token that lets its bearer in
    #[command(long_about = TOKEN_ABOUT)]
    Token(Token),
    /// End tokens before their time
    #[command(long_about = REVOKE_ABOUT)]
    Revoke(Revoke),
    /// Show what a data directory holds, and verify it
    #[command(long_about = INSPECT_ABOUT)]
    Inspect(Inspect),
    /// Move everything from one store to another
    #[command(long_about = MIGRATE_ABOUT)]
    Migrate(Migrate),
}

/// Run the server until Ctrl-C.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland serve
  avvyland serve --config /etc/avvyland.toml --data /var/lib/avvyland
  AVVY_LOG_LEVEL=debug avvyland serve --bind 127.0.0.1:9000")]
pub struct Serve {
    /// File of settings [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of everything that is kept [setting: server.data_dir]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address and port [setting: server.bind]
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<SocketAddr>,
}

impl Serve {
    /// The settings that the flags make.
    pub fn arguments(&self) -> Vec<Argument> {
        let data = data_argument(self.data.as_ref());
        let bind = self.bind.map(|bind| Argument {
            flag: "--bind",
            section: "server",
            key: "bind",
            value: bind.to_string(),
        });
        data.into_iter().chain(bind).collect()
    }
}

/// Simulate builders against a running server.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland demo
  avvyland demo --users 1000 --edits-per-second 5 --seconds 60
  avvyland demo --users 60 --walkers 6
  avvyland demo --url http://192.0.2.7:7878 --also http://192.0.2.8:7878 --token \"$(cat token.jwt)\"
  avvyland demo --url ws://192.0.2.7:7878 --token \"$(cat token.jwt)\" --json")]
pub struct Demo {
    /// Simulated users, from 1
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,
    /// Edits of each user a second, from 0
    #[arg(long, value_name = "R", default_value_t = 5.0, value_parser = rate)]
    pub edits_per_second: f64,
    /// How long to edit, from 1
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How many of the users see an area only, and walk; fewer than there are users
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub walkers: u32,
    /// Where to.
    #[command(flatten)]
    pub place: Whereabouts,
    /// Print the summary as one JSON object, and no live line
    #[arg(long)]
    pub json: bool,
}

/// Show what happens in a brane.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland watch
  avvyland watch --events 1 --seconds 60
  AVVYLAND_TOKEN=\"$(cat token.jwt)\" avvyland watch --url http://192.0.2.7:7878 --brane \"$BRANE\"")]
pub struct Watch {
    /// End after so many lines, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// End after so long, from 1
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub seconds: Option<u64>,
    /// Where.
    #[command(flatten)]
    pub place: Whereabouts,
}

/// A brane of a running server, and how to come in.
#[derive(Args, Debug, PartialEq)]
pub struct Whereabouts {
    /// Address of the server, http or ws [default: the one that runs on --data]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Another node of its fleet, for when the server cannot be reached; again for each
    #[arg(long, value_name = "URL")]
    pub also: Vec<String>,
    /// Token to come in with [default: AVVYLAND_TOKEN in the environment, else the one in --data, for
    /// the server that runs on it]
    #[arg(long, value_name = "JWT")]
    pub token: Option<String>,
    /// The brane, a UUID [default: the demo brane, else the first public one]
    #[arg(long, value_name = "UUID", value_parser = brane)]
    pub brane: Option<BraneId>,
    /// Data directory in which to look for the server's address and token
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

/// Make a token that lets its bearer in.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland token
  avvyland token --role visitor --hours 1
  avvyland token --user 6f1a7ac0-0d10-4b5e-9d5e-2f1d6a1f9f01 --role owner > token.jwt")]
pub struct Token {
    /// The user, a UUID of version 4 [default: a new one]
    #[arg(long, value_name = "UUID", value_parser = user)]
    pub user: Option<UserId>,
    /// The most that the token allows: visitor, builder or owner
    #[arg(long, value_name = "ROLE", default_value = "builder", value_parser = role)]
    pub role: Role,
    /// How long it counts [default: auth.token_lifetime_s]
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(u64).range(1..=8_784))]
    pub hours: Option<u64>,
    /// A name for people to read
    #[arg(long, value_name = "TEXT", value_parser = name)]
    pub name: Option<String>,
    /// File of settings [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory with the key [setting: server.data_dir]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Token {
    /// The settings that the flags make.
    pub fn arguments(&self) -> Vec<Argument> {
        data_argument(self.data.as_ref()).into_iter().collect()
    }
}

/// End tokens before their time.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland revoke --token \"$(cat token.jwt)\"
  avvyland revoke --user 6f1a7ac0-0d10-4b5e-9d5e-2f1d6a1f9f01
  avvyland revoke --user 6f1a7ac0-0d10-4b5e-9d5e-2f1d6a1f9f01 --before 1795487000")]
pub struct Revoke {
    /// Whose tokens: a UUID; all of them if nothing else is given
    #[arg(long, value_name = "UUID", value_parser = user)]
    pub user: Option<UserId>,
    /// One token: itself, or its id (`jti`) with --user
    #[arg(long, value_name = "JWT|UUID", conflicts_with = "before")]
    pub token: Option<String>,
    /// Those made before this Unix time
    #[arg(long, value_name = "SECONDS")]
    pub before: Option<u64>,
    /// Address of the server, http [default: the one that runs on --data]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File of settings [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory with the key [setting: server.data_dir]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Revoke {
    /// The settings that the flags make.
    pub fn arguments(&self) -> Vec<Argument> {
        data_argument(self.data.as_ref()).into_iter().collect()
    }
}

/// Show what a data directory holds, and verify it.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland inspect
  avvyland inspect --data /var/lib/avvyland --json")]
pub struct Inspect {
    /// File of settings [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory [setting: server.data_dir]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Inspect {
    /// The settings that the flags make.
    pub fn arguments(&self) -> Vec<Argument> {
        data_argument(self.data.as_ref()).into_iter().collect()
    }
}

/// Move everything from one store to another.
#[derive(Args, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  avvyland migrate --from data --to mongodb
  AVVY_STORE_URI=mongodb://host/?replicaSet=rs0 avvyland migrate --from mongodb --to data-2")]
pub struct Migrate {
    /// A data directory, or the word mongodb
    #[arg(long, value_name = "STORE", value_parser = place)]
    pub from: Place,
    /// A data directory without a store, or the word mongodb
    #[arg(long, value_name = "STORE", value_parser = place)]
    pub to: Place,
    /// File of settings [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a data directory.
    Directory(PathBuf),
    /// In the database that the settings name.
    Mongodb,
}

const SERVE_ABOUT: &str = "\
Run the server until Ctrl-C.

Settings come from config.toml, then from the environment (AVVY_SECTION_KEY),
then from these flags; each beats the one before it. The first start makes the
data directory, its key, a demo brane and, on the loopback, a token for
development.

Ctrl-C, SIGTERM or SIGHUP drains: no new edits, everything accepted made
durable, snapshots stored, exit code 0. A second one ends at once.";

const DEMO_ABOUT: &str = "\
Simulate builders against a running server, through the protocol that every
client uses.

Each user joins the demo brane, makes objects of its own and edits them. One
line shows what happens, a summary follows. In the end every copy of the world
is compared by its state hash. The exit code is 0 when nothing was lost and
all copies are equal, else 1.

Without --url and --token it finds the server and the token that `avvyland
serve` left in the data directory. The builders speak no TLS. To the server
they are one user: more of them than limits.max_sessions_per_user allows wait
until others have gone.";

const WATCH_ABOUT: &str = "\
Show what happens in a brane, as a client that joins it by the WebSocket is
told: one JSON object a line.

  created, updated, moved, reparented, deleted
              a change of the world: `seq` is its place in the log, `by` who
              did it (most moves come without), `handle` which object; what
              is new about it is as in an edit
  skipped     so many edits, up to `seq`, that show nothing, such as rulings
  live        the copy follows the log from `at` on; `resynced`: it was
              replaced on the way, so changes may be missing in between
  rewound     what came after `at` is lost with the server's last opening
  rights      what you may do, after each join and when it changes, as in
              GET /api/v1/brane/{id}/rights
  changed     what the brane is called and who may see it, when it changes
  here, came, left
              a person, as `person`, and whose session it is, as `user`
  signal      what somebody said: `from`, `user`, `kind`, `body`
  level       how much is sent, where the connection is too slow for all
  down        the connection is gone, with the close `code` and its `name`, if
              there was one, and the `reason`; it is made anew
  closed      the brane is left for good, `code` says why

Where people stand is left out. It ends with exit code 0 by Ctrl-C, by --events
or --seconds, or when nobody reads what it prints any more; with 1 when the
brane or the server lets it in no longer. Without --url and --token it finds
what `avvyland serve` left in the data directory. It speaks no TLS.";

const TOKEN_ABOUT: &str = "\
Make a token that lets its bearer in, signed by the key in the data directory,
and print it. Whoever can read that key can make any token.

The role is the most that the token allows in any brane; a user who owns a
brane is its owner only by a token of that role.";

const REVOKE_ABOUT: &str = "\
End tokens before their time. Their sessions are closed within a second, and
nobody comes in by them any more, on all servers that share a store or a Redis.

Without --token it ends all that the user has; tokens made from the next second
on count. A running server does it, asked with a token of the user's own that
is made with the key in the data directory.";

const INSPECT_ABOUT: &str = "\
Show what a data directory holds, and verify it: every brane with its
snapshots and journal, every checksum, and the state hash of each brane as it
would open. Changes nothing, not even the log that a killed server left. No
server may have the directory meanwhile.

The exit code is 0 when everything is in order, else 1: something is damaged,
or the end of a journal is torn and the next opening will cut it off. What
earlier openings have cut off is shown and does not count.";

const MIGRATE_ABOUT: &str = "\
Move everything from one store to another, and verify it: every brane with its
journal, its openings and its snapshots; afterwards the state hash of each is
compared. No server may run on either meanwhile.

A store is a data directory, or the word mongodb: then the settings store.uri
and store.database say where it is, best in the environment (AVVY_STORE_URI).
The target has to be empty. The source stays as it is, but for one opening of
each brane. What is damaged, or torn at its end, is not moved: see `avvyland
inspect`. The key that signs tokens is in the data directory and stays there.

Until it has ended well no server starts on the target.";

fn place(text: &str) -> Result<Place, String> {
    match text {
        "" => Err("is empty".to_owned()),
        "mongodb" => Ok(Place::Mongodb),
        text if text.contains("://") => {
            Err("addresses are settings: say mongodb, and set store.uri".to_owned())
        }
        text => Ok(Place::Directory(text.into())),
    }
}

fn data_argument(data: Option<&PathBuf>) -> Option<Argument> {
    let value = data?.to_string_lossy().into_owned();
    Some(Argument { flag: "--data", section: "server", key: "data_dir", value })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=10_000.0).contains(&rate) { Ok(rate) } else { Err("not from 0 to 10000".to_owned()) }
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "not visitor, editor, builder or owner".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    if text.len() <= 128 { Ok(text.to_owned()) } else { Err("longer than 128 bytes".to_owned()) }
}

fn brane(text: &str) -> Result<BraneId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn user(text: &str) -> Result<UserId, String> {
    let user: UserId = text.parse().map_err(|error| format!("{error}"))?;
    if user.uuid().get_version_num() == 4 { Ok(user) } else { Err("not of version 4".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words = std::iter::once("avvyland").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    #[test]
    fn is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_serve_become_settings() {
        let Ok(Command::Serve(serve)) = parse("serve --data d --bind 127.0.0.1:9") else {
            panic!("is not serve")
        };
        let made: Vec<_> =
            serve.arguments().into_iter().map(|a| (a.flag, a.section, a.key, a.value)).collect();
        let expected = [
            ("--data", "server", "data_dir", "d".to_owned()),
            ("--bind", "server", "bind", "127.0.0.1:9".to_owned()),
        ];
        assert_eq!(made, expected);
        let sources = crate::config::Sources { arguments: serve.arguments(), ..Default::default() };
        assert_eq!(sources.load().unwrap().server.bind.port(), 9);
    }

    #[test]
    fn demo_has_defaults() {
        let Ok(Command::Demo(demo)) = parse("demo") else { panic!("is not demo") };
        assert_eq!((demo.users, demo.edits_per_second, demo.seconds), (50, 5.0, 20));
        assert_eq!((demo.place.url, demo.place.token, demo.json), (None, None, false));
        assert_eq!(demo.walkers, 0);
    }

    #[test]
    fn token_takes_a_user_and_a_role() {
        let line = "token --user 6f1a7ac0-0d10-4b5e-9d5e-2f1d6a1f9f01 --role owner --hours 2";
        let Ok(Command::Token(token)) = parse(line) else { panic!("is not token") };
        assert_eq!((token.role, token.hours), (Role::Owner, Some(2)));
    }

    #[test]
    fn migrate_takes_two_places() {
        let Ok(Command::Migrate(migrate)) = parse("migrate --from data --to mongodb") else {
            panic!("is not migrate")
        };
        assert_eq!(migrate.from, Place::Directory("data".into()));
        assert_eq!(migrate.to, Place::Mongodb);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "revoke --token a --before 1",
            "revoke --user me",
            "migrate --from data",
            "migrate --from data --to mongodb://host/",
            "",
            "sevre",
            "serve --bind here",
            "serve extra",
            "demo --users 0",
            "demo --users many",
            "demo --edits-per-second -1",
            "demo --edits-per-second NaN",
            "demo --seconds 0",
            "watch --events 0",
            "watch --seconds 0",
            "watch --brane town",
            "token --user me",
            "token --user 00000000-0000-0000-0000-000000000000",
            "token --role admin",
            "token --hours 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n  avvyland"), "{help}");
        }
    }
}
