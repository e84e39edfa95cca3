//! Counting the instructions that a guest executes, by a plugin of QEMU (`bench/plugin/insn.c`).
use crate::paths;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// CPUs that the plugin's file has room for, and where it has the instructions of each (`struct shared` in the plugin).
const CPUS: usize = 64;
const CPU_BYTES: usize = 64;
const CPUS_AT: usize = 64;

/// Where the file says how many arrivals at a marked address there were, and has what is noted of each, so many at most.
const LOG_LEN_AT: usize = 3 * 8;
const LOG_AT: usize = CPUS_AT + CPUS * CPU_BYTES;
const LOG_BYTES: usize = 32;
const LOG_MOST: usize = 1024;

/// The plugin, compiled once, in `folder`.
///
/// # Errors
/// What the compiler says.
pub fn plugin(folder: &Path) -> Result<PathBuf, String> {
    static PLUGIN: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || {
        let plugin = folder.join("insn.so");
        let source = paths::repository().join("bench/plugin/insn.c");
        let source = fs::read_to_string(source).map_err(|e| e.to_string())?;
        coracle_qemu_plugin::compile(&source, &plugin).map_err(|e| e.to_string())?;
        Ok(plugin)
    };
    PLUGIN.get_or_init(make).clone()
}

/// What `-plugin` of QEMU takes, so that it counts into the file `counters`.
pub fn argument(plugin: &Path, counters: &Path) -> String {
    format!("{},counters={}", plugin.display(), counters.display())
}

/// The same, and logs arrivals at the function `mark` of a program that is linked at fixed addresses.
///
/// # Errors
/// If it has none.
pub fn argument_with_mark(
    plugin: &Path,
    counters: &Path,
    program: &Path,
    mark: &str,
) -> Result<String, String> {
    let output = Command::new("nm").arg(program).output().map_err(|e| format!("nm: {e}"))?;
    let symbols = String::from_utf8_lossy(&output.stdout);
    let address = symbols.lines().find_map(|line| line.strip_suffix(mark)?.split(' ').next());
    let address = address.ok_or_else(|| format!("{} has no {mark}", program.display()))?;
    Ok(format!("{},mark=0x{address}", argument(plugin, counters)))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The instructions between one arrival at the marked address and the next, in the file that the plugin has written, which is removed.
///
/// # Errors
/// If it has written none.
pub fn windows(counters: &Path) -> Result<Vec<u64>, String> {
    let bytes = fs::read(counters).map_err(|e| e.to_string())?;
    fs::remove_file(counters).map_err(|e| e.to_string())?;
    let len =
        word(&bytes, LOG_LEN_AT).map_or(0, |len| usize::try_from(len).unwrap_or(LOG_MOST).min(LOG_MOST));
    let arrivals: Option<Vec<u64>> =
        (0..len).map(|place| word(&bytes, LOG_AT + place * LOG_BYTES + 8)).collect();
    let arrivals = arrivals.ok_or("the plugin's file is cut")?;
    Ok(arrivals.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect())
}

/// The instructions of all CPUs in the file that the plugin has written, which is removed.
///
/// # Errors
/// If it has written none.
pub fn count(counters: &Path) -> Result<u64, String> {
    let bytes = fs::read(counters).map_err(|e| e.to_string())?;
    fs::remove_file(counters).map_err(|e| e.to_string())?;
    let all: Option<u64> = (0..CPUS).map(|cpu| word(&bytes, CPUS_AT + cpu * CPU_BYTES)).sum();
    all.filter(|&count| count > 0).ok_or_else(|| "the plugin wrote nothing".into())
}
