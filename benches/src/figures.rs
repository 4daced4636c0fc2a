//! What figures are made of: medians, and what the kernel says of memory.

use std::fs;

/// In ascending order.
#[must_use]
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of what is sorted.
///
/// # Panics
/// There is nothing.
#[must_use]
pub fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// How wide the middle half of what is sorted lies, as a share of the median.
///
/// # Panics
/// There is nothing.
#[must_use]
pub fn spread(sorted: &[f64]) -> f64 {
    (sorted[sorted.len() * 3 / 4] - sorted[sorted.len() / 4]) / middle(sorted)
}

/// Resident memory of this process, in bytes.
///
/// # Errors
/// The kernel does not tell.
pub fn resident() -> Result<u64, String> {
    named("/proc/self/smaps_rollup", "Rss:")
}

/// Memory of the machine that can be taken without anything else being swapped, in bytes.
///
/// # Errors
/// The kernel does not tell.
pub fn available() -> Result<u64, String> {
    named("/proc/meminfo", "MemAvailable:")
}

/// The machine, as far as figures depend on it.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("not known");
    format!("{cores} processors, load average of the last minute {load}")
}

fn named(path: &str, name: &str) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    bytes_of(&text, name).ok_or_else(|| format!("{path} names no {name}"))
}

/// The bytes of the line `NAME 12 kB`.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(middle(&sorted([3.0, 1.0, 9.0])), 3.0);
        assert_eq!(middle(&sorted([3.0, 1.0, 9.0, 5.0])), 4.0);
        assert_eq!(spread(&sorted([1.0, 2.0, 4.0, 8.0])), 2.0);
    }

    #[test]
    fn the_kernels_words_are_read() {
        let rollup = "5-7 ---p 0 0:0 0   [rollup]\nRss:       1596 kB\nPss:   209 kB\n";
        assert_eq!(bytes_of(rollup, "Rss:"), Some(1596 << 10));
        assert_eq!(bytes_of("Pss: 1 kB\n", "Rss:"), None);
    }
}
