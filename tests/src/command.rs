//! Commands of the host that must succeed.
use std::process::Command;

/// What a command prints.
///
/// # Errors
/// If it does not start or fails: what it said.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{:?} does not start: {e}", command.get_program()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
