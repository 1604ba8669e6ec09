//! What an operator writes.

use std::path::PathBuf;

use avvy_server::config::Sources;

/// A `config.toml`: refused with reasons, or settings that can be written down
/// and are read again as the same.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let load = |text: &str| {
        let file = Some((PathBuf::from("config.toml"), text.to_owned()));
        Sources { file, ..Sources::default() }.load()
    };
    match load(text) {
        Ok(config) => {
            let written = toml::to_string(&config).expect("settings have a TOML form");
            assert_eq!(load(&written).as_ref().ok(), Some(&config));
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "a refusal without a reason"),
    }
}
