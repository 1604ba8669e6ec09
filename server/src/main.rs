//! The `avvyland` command.

use std::process::ExitCode;

use avvy_server::cli::{Cli, Command};
use avvy_server::{demo, inspect, migrate, output, revoke, serve, token, watch};
use clap::Parser;

/// A request and a delivery each make some tens of small allocations, on all
/// threads. With the allocator of glibc a read over REST takes 14.4 us of
/// processor time, with this one 12.2 (`cargo xtask bench rest-read`).
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Token(arguments) => token::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Revoke(arguments) => revoke::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::FAILURE
    })
}
