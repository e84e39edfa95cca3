//! What is known of a guest's log beside the log: the driver, and what was lost.

use std::fs;

use serde::{Deserialize, Serialize};

use super::json_file::aged;
use crate::error::{Result, cannot};
use crate::instances;

/// The kind of file that holds a [`Note`].
const KIND: &str = "logging";
/// The kind of file that is the log.
pub const LOG: &str = "log";
/// The most files that a log has.
pub const MOST_FILES: u32 = 100;

/// How a guest's lines are kept, and what became of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Note {
    /// The driver.
    pub driver: String,
    /// Lines that were lost, of all destinations.
    pub lost: u64,
    /// What is wrong with a destination, if something is.
    pub trouble: Option<String>,
}

impl Note {
    /// Writes it to its file. That can't be told anywhere if it fails.
    pub fn write(&self, name: &str) {
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = instances::file(name, KIND).map(|path| fs::write(path, text));
    }
}

/// What is known of a guest's log.
pub fn note(name: &str) -> Option<Note> {
    let text = fs::read_to_string(instances::file(name, KIND).ok()?).ok()?;
    serde_json::from_str(&text).ok()
}

/// Removes the log of a guest with all its files.
///
/// # Errors
/// If a file can't be removed.
pub fn remove(name: &str) -> Result<()> {
    let log = instances::file(name, LOG)?;
    let files = (0..MOST_FILES).map(|index| aged(&log, index)).chain([instances::file(name, KIND)?]);
    for path in files {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("remove", &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives the log of a guest another name with all its files.
///
/// # Errors
/// If a file can't be renamed.
pub fn rename(old: &str, new: &str) -> Result<()> {
    let (from, to) = (instances::file(old, LOG)?, instances::file(new, LOG)?);
    let files = (0..MOST_FILES).map(|index| (aged(&from, index), aged(&to, index)));
    for (from, to) in files.chain([(instances::file(old, KIND)?, instances::file(new, KIND)?)]) {
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("rename", &from, &error));
            }
            _ => {}
        }
    }
    Ok(())
}
