//! What was measured, beside each other.

use std::fs;
use std::process::Command;

use super::case::Case;
use super::numbers::{median, spread};
use super::program::Program;
use super::scene::WORKERS;

/// Says what was measured where, and begins the table.
pub(crate) fn begin(programs: &[Program], rounds: usize) {
    let versions: Vec<_> = programs.iter().map(|program| program.version()).collect();
    println!("{}; {}\n", versions.join(", "), machine());
    println!(
        "{WORKERS} workers each. Processor time of the proxy, user and system, µs for each operation, ms for each GiB; of idle connections the memory of each. Medians of {rounds} rounds, of {} for idle connections. Spread: (max − min) / median of the first one's rounds. ÷: the first one's figure divided by the other's, median of the quotients within a round.\n",
        rounds / 3 + 1
    );
    let (own, others) = programs.split_first().unwrap();
    print!("| case | {} | spread |", own.name());
    others
        .iter()
        .for_each(|other| print!(" {} |", other.name()));
    others
        .iter()
        .for_each(|other| print!(" ÷ {} |", other.name()));
    println!("\n|---|---:|---:|{}", "---:|---:|".repeat(others.len()));
}

/// Adds a case; `figures`: by program, then by round.
///
/// Beside another, it is the median of the quotients within a round, of which
/// each has met the machine in one mood.
pub(crate) fn add(case: &Case, figures: &[Vec<f64>]) {
    let (own, others) = figures.split_first().unwrap();
    print!("| {} | {} |", case.in_words, short(median(own)));
    match spread(own) {
        Some(percent) => print!(" {percent:.0} % |"),
        None => print!(" – |"),
    }
    for other in others {
        print!(" {} |", short(median(other)));
    }
    for other in others {
        let quotients = own.iter().zip(other).map(|(own, other)| own / other);
        let middle = median(&quotients.collect::<Vec<_>>());
        print!(" {:.2} |", middle.unwrap());
    }
    println!();
}

/// With three digits, or all before the point.
fn short(figure: Option<f64>) -> String {
    match figure.unwrap() {
        large if large >= 99.95 => format!("{large:.0}"),
        middling if middling >= 9.995 => format!("{middling:.1}"),
        small => format!("{small:.2}"),
    }
}

/// Processor, kernel and date.
fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap();
    let mut lines = processors.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(name, _)| name.trim() == "model name");
    let count = std::thread::available_parallelism().unwrap();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    format!(
        "{count} × {}, Linux {}, {}",
        model.map_or("processor of unknown model", |(_, model)| model.trim()),
        kernel.trim(),
        String::from_utf8_lossy(&date.unwrap().stdout).trim()
    )
}
