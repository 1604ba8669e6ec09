//! The machine under the measurement: cores, limits, and what a process used.

mod cores;
mod usage;

pub use cores::{Cores, on_core, pin, raise_file_limit};
pub use usage::{CpuTime, Memory, cpu_time, memory};

/// The machine in words, for the raw figures.
pub fn describe() -> String {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Not those that this process may use: it is pinned to one.
    let cores = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
