//! Interpreter scripts: `#!interpreter [argument]` (execve(2)).
/// Bytes of the first line that are looked at (Linux's BINPRM_BUF_SIZE).
pub const SCRIPT_HEAD_LEN: usize = 256;

/// What the first line of a script asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// What follows it, as one argument.
    pub argument: Option<&'a [u8]>,
}

/// Reads the first bytes of a file. `None`: not a script, or one whose first line names no interpreter. If the file ends there, the
/// interpreter is empty, as for Linux, which pads what it reads with zeroes.
pub fn parse_script(head: &[u8]) -> Option<Script<'_>> {
    let head = &head[..head.len().min(SCRIPT_HEAD_LEN)];
    let line = head.strip_prefix(b"#!")?;
    let end = line.iter().position(|&byte| byte == b'\n' || byte == 0);
    let ends_the_file = end.map_or(head.len() < SCRIPT_HEAD_LEN, |end| line[end] == 0);
    let line = match end {
        Some(end) => &line[..end],
        // A line that doesn't end here: the interpreter's path must, or it would be cut.
        None => line,
    };
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = line.iter().position(|byte| !blank(byte)) else {
        return ends_the_file.then_some(Script { interpreter: b"", argument: None });
    };
    let line = &line[start..];
    let split = line.iter().position(blank);
    if split.is_none() && end.is_none() && head.len() == SCRIPT_HEAD_LEN {
        return None;
    }
    let (interpreter, rest) = line.split_at(split.unwrap_or(line.len()));
    let rest = rest.trim_ascii();
    Some(Script { interpreter, argument: (!rest.is_empty()).then_some(rest) })
}
