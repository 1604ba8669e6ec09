#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use avvy_model::Code;
use avvy_protocol::close::CloseCode;
use toml::{Table, Value};

use super::bounds::BOUNDS;
use super::*;

const LIMITS: &str = include_str!("../../../docs/LIMITS.md");
const DOCUMENTED: &str = include_str!("../../../config.toml");

fn file(text: &str) -> Sources {
    Sources { file: Some((PathBuf::from("config.toml"), text.to_owned())), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources { environment: variables.iter().map(own).collect(), ..Sources::default() }
}

fn problems(sources: &Sources) -> Vec<String> {
    sources.load().unwrap_err().0.iter().map(Problem::to_string).collect()
}

fn only_problem(text: &str) -> String {
    let mut problems = problems(&file(text));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

/// Every setting as `section.key`, with its default.
fn settings() -> Vec<(String, Value)> {
    let table = Table::try_from(Config::default()).unwrap();
    let keys = |(section, keys): (String, Value)| {
        let Value::Table(keys) = keys else { panic!("{section} is no section") };
        keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
    };
    table.into_iter().flat_map(keys).collect()
}

#[test]
fn the_defaults_are_in_order() {
    assert_eq!(Sources::default().load(), Ok(Config::default()));
}

#[test]
fn the_documented_file_holds_every_setting_with_its_default() {
    let written: Table = DOCUMENTED.parse().unwrap();
    assert_eq!(written, Table::try_from(Config::default()).unwrap());
    assert_eq!(file(DOCUMENTED).load(), Ok(Config::default()));
}

#[test]
fn the_documented_file_explains_every_setting() {
    let mut above = "";
    for (line, number) in DOCUMENTED.lines().zip(1..) {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(above.starts_with("# "), "line {number} has no text above it: {line}");
        }
        above = line;
    }
}

/// The rows of `docs/LIMITS.md`: key, default, and what is beyond.
fn limits() -> Vec<(&'static str, &'static str, &'static str)> {
    let (_, rest) = LIMITS.split_once("<!-- limits: begin").unwrap();
    let (table, _) = rest.split_once("<!-- limits: end").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let columns = rows.map(|row| {
        let mut columns = row.splitn(3, " | ");
        let key = columns.next().unwrap().trim_end_matches('`');
        (key, columns.next().unwrap(), columns.next().unwrap())
    });
    columns.collect()
}

#[test]
fn the_documented_limits_are_those_of_the_settings() {
    let settings = settings();
    let mut seen = BTreeSet::new();
    for (key, default, _) in limits() {
        let setting = settings.iter().find(|(name, _)| name == key);
        let (_, value) = setting.unwrap_or_else(|| panic!("there is no {key}"));
        assert_eq!(default, value.to_string(), "{key}");
        assert!(seen.insert(key.to_owned()), "{key} is there twice");
    }
    for (key, _) in &settings {
        let is_rate = key.ends_with("_per_second") || key.ends_with("_burst");
        let is_limit = is_rate || key.starts_with("limits.") || key.starts_with("world.max_");
        assert!(!is_limit || seen.contains(key), "{key} is not in docs/LIMITS.md");
    }
    for limit in avvy_actors::Limit::ALL {
        let key = limit.setting();
        assert!(seen.contains(key), "{key} is counted, but not in docs/LIMITS.md");
    }
}

#[test]
fn what_is_beyond_a_limit_is_told_by_a_code_that_there_is() {
    for (key, _, beyond) in limits() {
        let mut words = beyond.split('`');
        let mut before = words.next().unwrap();
        while let (Some(name), Some(after)) = (words.next(), words.next()) {
            let is_known = if before.ends_with("close ") {
                CloseCode::ALL.iter().any(|code| code.name() == name)
            } else {
                name == "next" || Code::from_name(name).is_some()
            };
            assert!(is_known, "{key}: {name} is no code");
            let waiting_helps =
                ["rate_limited", "too_many_sessions", "brane_full", "unavailable"].contains(&name);
            assert!(waiting_helps || !after.starts_with(", retry"), "{key}: {name}");
            before = after;
        }
    }
}

/// What `config.toml` says that something is refused with is in the row of that
/// setting, which the tests of who refuses it are held to.
#[test]
fn the_documented_file_names_the_codes_of_the_documented_limits() {
    let limits = limits();
    let (mut section, mut text, mut named) = ("", String::new(), 0);
    for line in DOCUMENTED.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            text += comment;
            continue;
        }
        let text = std::mem::take(&mut text);
        section = line.strip_prefix('[').map_or(section, |name| name.trim_end_matches(']'));
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let key = format!("{section}.{key}");
        let Some((_, _, beyond)) = limits.iter().find(|(name, ..)| *name == key) else { continue };
        for code in text.split('`').filter(|word| Code::from_name(word).is_some()) {
            assert!(beyond.contains(&format!("`{code}`")), "{key}: {code}, not {beyond}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn every_number_has_a_range_that_holds_its_default() {
    let numbers = settings().into_iter().filter(|(_, value)| value.is_integer());
    let numbers: BTreeSet<String> = numbers.map(|(key, _)| key).collect();
    let bounded: BTreeSet<String> = BOUNDS.iter().map(|(key, ..)| (*key).to_owned()).collect();
    assert_eq!(numbers, bounded);
    assert_eq!(BOUNDS.len(), bounded.len(), "a range is there twice");
}

#[test]
fn every_number_is_refused_outside_its_range() {
    for (key, least, most) in BOUNDS {
        let (section, name) = key.split_once('.').unwrap();
        for outside in [least.checked_sub(1), most.checked_add(1)].into_iter().flatten() {
            let refused = problems(&file(&format!("[{section}]\n{name} = {outside}")));
            let here = format!("config.toml:2: {key}: ");
            assert!(refused.iter().any(|reason| reason.starts_with(&here)), "{key} {refused:?}");
        }
    }
}

#[test]
fn every_setting_can_be_made_in_the_environment() {
    for (key, value) in settings() {
        let name = format!("AVVY_{}", key.to_uppercase().replace('.', "_"));
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(environment(&[(&name, &text)]).load(), Ok(Config::default()), "{name}={text}");
    }
}

#[test]
fn the_world_is_bounded_as_the_model_says() {
    assert_eq!(Config::default().world_limits(), WorldLimits::default());
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let mut sources = file("[server]\nbind = '127.0.0.1:1'\ndata_dir = 'a'\nworker_threads = 1");
    assert_eq!(sources.load().unwrap().server.worker_threads, 1);
    sources.environment = environment(&[
        ("AVVY_SERVER_BIND", "127.0.0.1:2"),
        ("AVVY_SERVER_DATA_DIR", "b"),
        ("HOME", "/"),
    ])
    .environment;
    sources.arguments = vec![Argument {
        flag: "--bind",
        section: "server",
        key: "bind",
        value: "127.0.0.1:3".into(),
    }];
    let server = sources.load().unwrap().server;
    assert_eq!(server.bind.port(), 3);
    assert_eq!(server.data_dir, PathBuf::from("b"));
    assert_eq!(server.worker_threads, 1);
}

#[test]
fn unknown_keys_and_sections_are_refused_with_their_line() {
    let key = only_problem("[server]\nbind = '127.0.0.1:1'\nbindd = 1");
    assert_eq!(key, "config.toml:3: server.bindd: there is no such setting; did you mean bind?");
    let far = only_problem("[log]\nxyzzy = 1");
    assert_eq!(far, "config.toml:2: log.xyzzy: there is no such setting");
    let section = only_problem("\n\n[servers]\nbind = 1");
    assert!(section.starts_with("config.toml:3: there is no section [servers]"), "{section}");
    let top = only_problem("bind = 1");
    assert!(top.starts_with("config.toml:1: there is no section [bind]"), "{top}");
    let flat = only_problem("server = 1");
    assert!(flat.starts_with("config.toml:1: "), "{flat}");
}

#[test]
fn unknown_variables_are_refused_with_their_name() {
    for name in ["AVVY_X", "AVVY_SERVER", "AVVY_SERVERS_BIND", "AVVY_server_bind", "AVVY_"] {
        let refused = problems(&environment(&[(name, "1")]));
        assert!(refused[0].starts_with(&format!("environment {name}: there is no")), "{refused:?}");
    }
    let refused = problems(&environment(&[("AVVY_SERVER_BINDD", "1")]));
    assert!(refused[0].starts_with("environment AVVY_SERVER_BINDD: server.bindd: "), "{refused:?}");
}

#[test]
fn values_of_another_kind_are_refused_with_the_reason() {
    let cases = [
        ("[server]\nbind = 7878", "invalid type: integer `7878`"),
        ("[server]\nbind = 'here'", "invalid socket address"),
        ("[server]\nworker_threads = 'two'", "invalid type: string \"two\""),
        ("[server]\nworker_threads = -1", "invalid value: integer `-1`"),
        ("[server]\nworker_threads = 4_294_967_296", "invalid value: integer `4294967296`"),
        ("[server]\nworker_threads = 1.5", "invalid type: floating point `1.5`"),
        (
            "[store]\nkind = 'oracle'",
            "unknown variant `oracle`, expected one of `sqlite`, `mongodb`, `memory`",
        ),
        ("[log]\nformat = true", "does not fit"),
    ];
    for (text, expected) in cases {
        let problem = only_problem(text);
        assert!(problem.starts_with("config.toml:2: "), "{problem}");
        assert!(problem.contains(expected) && !problem.contains('\n'), "{problem}");
    }
    let refused = problems(&environment(&[("AVVY_SERVER_WORKER_THREADS", "many")]));
    assert!(refused[0].contains("invalid type: string \"many\""), "{refused:?}");
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    for (text, line) in [("[server]\nbind = ", 2), ("\n[server", 2), ("[log]\n[log]", 2)] {
        let problem = only_problem(text);
        assert!(problem.starts_with(&format!("config.toml:{line}: ")), "{problem}");
    }
}

#[test]
fn contradictions_are_refused_at_the_line_of_the_key() {
    let cases = [
        "[session]\noutbox_low_water_bytes = 262144",
        "[session]\noutbox_high_water_bytes = 8388608",
        "[session]\ntoken_warning_s = 43200",
        "[server]\ntls_cert_file = 'cert.pem'",
        "[server]\ntls_key_file = 'key.pem'",
        "[server]\ndata_dir = ''",
        "[limits]\nmax_sessions = 20001",
        "[limits]\nmax_connections_per_address = 20001",
        "[limits]\nmax_sessions_per_user = 10001",
        "[limits]\nmax_joined_branes_per_user = 1025",
        "[limits]\nhttp_max_pages_per_user = 33",
        "[limits]\nhttp_max_pages_per_address = 129",
        "[limits]\nedits_per_second = 4001",
        "[limits]\nedits_burst = 8193",
        "[limits]\nmax_sessions_per_brane = 10001",
        "[limits]\nedits_burst = 1023",
        "[limits]\nmax_edits_in_flight = 999",
        "[limits]\nmax_bytes_in_flight = 1048575",
        "[limits]\nmax_message_bytes = 16384",
        "[limits]\nhttp_max_body_bytes = 16384",
        "[limits]\nheader_read_timeout_ms = 30001",
        "[world]\nmax_value_bytes = 16385",
        "[world]\nmax_event_bytes = 33279",
        "[brane]\nflush_window_max_ms = 0",
        "[brane]\nring_bytes = 262143\nmax_window_bytes = 1024",
        "[brane]\nmax_window_bytes = 1048577\nring_bytes = 1048576",
        "[brane]\njournal_pending_bytes = 67108865",
        "[brane]\njournal_pending_bytes = 1048575",
        "[people]\nmax_signal_body_bytes = 1048576",
        "[store]\nmax_commit_bytes = 67108865",
        "[store]\nretry_min_ms = 5001",
        "[store]\nretention_hours = 167",
        "[store]\nmax_journal_bytes = 134217727",
        "[store]\nuri = 'postgres://host/'",
        "[store]\nuri = 'mongodb+srv://host/'",
        "[store]\ndatabase = 'a.b'",
        "[store]\ndatabase = ''",
        "[cache]\nttl_ms = 30001",
        "[cache]\nmissing_ttl_ms = 30001",
        "[redis]\nnamespace = ''",
        "[redis]\nnamespace = 'a:b'",
        "[redis]\nlease_ms = 99",
        "[auth]\nissuer = ''",
        "[auth]\naudience = ''",
        "[auth]\nkey_file = ''",
        "[auth]\nkey_rotation_days = 6",
        "[auth]\nkey_rotation_days = 367",
        "[auth]\nkey_secret = 'too short'",
        "[auth]\naccess_token_lifetime_s = 3600\nsign_in_idle_s = 3599",
        "[auth]\naccess_token_lifetime_s = 3601",
        "[auth]\nsign_in_idle_s = 7776001",
        "[auth]\nsite = 'example.org'",
        "[auth]\nsite = 'https://example.org/'",
        "[auth]\nsite = 'ftp://example.org'",
        "[auth]\nchains = []",
        "[auth]\nchains = [0]",
        "[auth]\nlock_out_first_ms = 900001",
        "[auth]\npublic_url = 'https://example.org/'",
        "[auth]\nredirects = ['/back']",
        "[auth]\nredirects = ['javascript:alert(1)']",
        "[auth]\nredirects = ['https://a/ b']",
        "[auth]\nproviders = [{ name = 'A', issuer = 'https://a', client_id = 'a' }]\n\
         public_url = 'https://example.org'",
        "[auth]\nproviders = [{ name = 'a', issuer = 'http://a', client_id = 'a' }]\n\
         public_url = 'https://example.org'",
        "[auth]\nkeys_refresh_s = 86401",
        "[auth]\nkeys_pause_ms = 600001",
        "[auth]\nexternal = [{ issuer = '', audience = 'a', jwks_url = 'https://a/', role = 'owner' }]",
        "[auth]\nexternal = [{ issuer = 'a', audience = 'a', jwks_url = 'http://a/', role = 'owner' }]",
        "[auth]\nexternal = [{ issuer = 'a', audience = 'a', jwks_url = 'https://a/', role = 'x' }]",
        "[auth]\nexternal = [{ issuer = 'avvyland', audience = 'a', jwks_url = 'https://a/', role = 'owner' }]",
        "[log]\nlevel = ''",
        "[log]\nlevel = 'loud=loud'",
    ];
    for text in cases {
        let problem = only_problem(text);
        let (section, rest) = text[1..].split_once("]\n").unwrap();
        let key = rest.split_once(" = ").unwrap().0;
        let expected = format!("config.toml:2: {section}.{key}: ");
        assert!(problem.starts_with(&expected), "{text:?} gives {problem}");
    }
}

#[test]
fn mongodb_needs_an_address_and_nobody_is_shown_it() {
    let chosen = problems(&file("[store]\nkind = 'mongodb'"));
    assert!(chosen.iter().any(|problem| problem.contains("store.uri: must be set")), "{chosen:?}");
    let uri = "mongodb://user:sesame@host/?replicaSet=rs0";
    let chosen = problems(&file(&format!("[store]\nkind = 'mongodb'\nuri = '{uri}'\nreaders = 0")));
    assert!(!chosen.is_empty() && !format!("{chosen:?}").contains("sesame"), "{chosen:?}");
    let wrong = format!("[store]\nuri = '{}'", uri.replace("mongodb", "http"));
    assert!(!only_problem(&wrong).contains("sesame"));
    let config = file(&format!("[store]\nuri = '{uri}'")).load().unwrap();
    assert!(!format!("{config:?}").contains("sesame"), "{config:?}");
}

#[test]
fn redis_has_an_address_that_nobody_is_shown() {
    let url = "redis://user:sesame@host:6379/0";
    let chosen = file(&format!("[redis]\nurl = '{url}'"));
    if cfg!(feature = "redis") {
        let config = chosen.load().unwrap();
        assert!(!format!("{config:?}").contains("sesame"), "{config:?}");
    } else {
        let refused = problems(&chosen);
        assert!(refused[0].contains("redis.url: is set") && !refused[0].contains("sesame"));
    }
    let tls = url.replace("redis", "rediss");
    for (wrong, why) in [
        (
            format!("url = '{}'", url.replace("redis", "http")),
            "redis.url: must begin with redis://",
        ),
        (format!("url = '{tls}#insecure'"), "redis.url: holds a #"),
        (format!("url = '{url}'\ntls_ca_file = 'ca.pem'"), "redis.tls_ca_file: is set, but"),
    ] {
        let wrong = problems(&file(&format!("[redis]\n{wrong}")));
        assert!(wrong.iter().any(|problem| problem.contains(why)), "{wrong:?}");
        assert!(wrong.iter().all(|problem| !problem.contains("sesame")), "{wrong:?}");
    }
    if cfg!(feature = "redis") {
        file(&format!("[redis]\nurl = '{tls}'\ntls_ca_file = 'ca.pem'")).load().unwrap();
    }
}

#[test]
fn a_node_with_a_certificate_is_reached_by_tls() {
    let told = |address: &str, tls: &str| {
        let text = format!("[fleet]\naddress = '{address}'\n[server]\n{tls}");
        file(&text).load().unwrap_err().to_string()
    };
    let (with, without) = ("tls_cert_file = 'c'\ntls_key_file = 'k'", "");
    let why = "must begin with https:// as server.tls_cert_file is set";
    assert!(told("http://a:1", with).contains(why));
    // TLS may end before this process.
    for (address, tls) in [("https://a:1", with), ("https://a:1", without), ("http://a:1", without)]
    {
        assert!(!told(address, tls).contains(why), "{address}");
    }
}

#[test]
fn development_tokens_stay_on_the_loopback() {
    let open = "[auth]\ndevelopment_tokens = true\n[server]\nbind = '0.0.0.0:7878'";
    let problem = only_problem(open);
    assert!(problem.starts_with("config.toml:2: auth.development_tokens: is true"), "{problem}");
    let implied = only_problem("[server]\nbind = '[::]:7878'");
    assert!(implied.starts_with("default: auth.development_tokens: is true"), "{implied}");
    for fine in ["0.0.0.0:1'\n[auth]\ndevelopment_tokens = false", "[::1]:1'", "127.9.9.9:1'"] {
        assert!(file(&format!("[server]\nbind = '{fine}")).load().is_ok(), "{fine}");
    }
}

#[test]
fn whoever_anybody_says_stays_on_the_loopback() {
    let open = "[auth]\ndevelopment_sign_in = true\ndevelopment_tokens = false\n\
                [server]\nbind = '0.0.0.0:7878'";
    let problem = only_problem(open);
    assert!(problem.starts_with("config.toml:2: auth.development_sign_in: is true"), "{problem}");
    assert!(file("[auth]\ndevelopment_sign_in = true").load().is_ok());
}

#[test]
fn lists_are_written_in_the_environment_as_in_the_file() {
    let of = |value: &str| environment(&[("AVVY_AUTH_CHAINS", value)]).load();
    assert_eq!(of("[1, 137]").unwrap().auth.chains, [1, 137]);
    for bad in ["1", "[", "['a']", ""] {
        assert!(of(bad).is_err(), "{bad}");
    }
    // What is in a list may be secret, so it is not told.
    let list = "[{ issuer = 'a', secret = 'sesame' }]";
    let told = problems(&environment(&[("AVVY_AUTH_EXTERNAL", list)])).join("");
    assert!(told.contains("AVVY_AUTH_EXTERNAL") && !told.contains("sesame"), "{told}");
}

#[test]
fn every_problem_is_listed() {
    let mut sources = file("[server]\nbind = 1\nx = 1\n[log]\nformat = 'xml'\n[nothing]");
    sources.environment = environment(&[("AVVY_NOTHING", "1")]).environment;
    assert_eq!(problems(&sources).len(), 5);

    let together = problems(&file(
        "[session]\noutbox_low_water_bytes = 9000000\nheartbeat_ms = 0\n[brane]\nflush_window_max_ms = 0",
    ));
    assert_eq!(together.len(), 3, "{together:#?}");
    let text = file("[log]\na = 1\nb = 2").load().unwrap_err().to_string();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn files_are_where_they_are_said_to_be() {
    let config = file("[server]\ndata_dir = '/var/avvy'\ntls_cert_file = 'c'\ntls_key_file = 'k'");
    let config = config.load().unwrap();
    assert_eq!(config.auth_key_file(), PathBuf::from("/var/avvy/auth-key.pem"));
    assert_eq!(config.key_rotation_s(), 30 * 86_400);
    assert_eq!(config.tls_files(), Some((PathBuf::from("c"), PathBuf::from("k"))));
    assert_eq!(Config::default().tls_files(), None);
    let missing = Sources::gather(Some(std::path::Path::new("/no/such.toml")), vec![]);
    assert!(missing.unwrap_err().to_string().contains("/no/such.toml"));
}
