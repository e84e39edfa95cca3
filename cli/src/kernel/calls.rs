//! The table of system calls, read from the kernel's source (`kernel/linux/src/table.rs`) when this command is built.

/// A system call: number, name, kinds of its arguments, kind of its result.
pub type Call = (usize, String, Vec<String>, String);

/// Reads the table in the kernel's source.
pub fn parse(source: &str) -> Vec<Call> {
    source.lines().filter_map(line).collect()
}

/// `number name(arguments) -> result function, "…";`, after `#[all_registers]` for some.
fn line(line: &str) -> Option<Call> {
    let line = line.trim().trim_start_matches("#[all_registers]").trim_start();
    let (number, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once('(')?;
    let (arguments, rest) = rest.split_once(')')?;
    let result = rest.strip_prefix(" -> ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let kinds = arguments.split(',').map(str::trim).filter(|kind| !kind.is_empty());
    let number = number.parse().ok().filter(|_| is_name(name))?;
    Some((number, name.to_owned(), kinds.map(str::to_owned).collect(), result.to_owned()))
}
