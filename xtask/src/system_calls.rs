//! Reads the kernel's system-call table and prints it as a page of the book.
use std::fmt::Write;
use std::path::Path;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Linux's number on x86-64.
    pub number: u32,
    /// Linux's name.
    pub name: String,
    /// Its arguments, in order.
    pub arguments: Vec<Argument>,
    /// The kind of its result, if further calls can use it.
    pub result: Option<String>,
    /// The function's module, from which the source file follows.
    pub function: String,
    /// What of the call is supported.
    pub note: String,
}

/// One argument of a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Whether it is the address of one.
    pub pointer: bool,
    /// What it is: a word that says how it is made, such as `fd` or `timespec`.
    pub kind: String,
}

/// Reads the table from the source of the kernel, which is below `repository`.
///
/// # Errors
/// If the file can't be read or isn't a table.
pub fn read(repository: &Path) -> Result<Vec<SystemCall>, String> {
    let table = repository.join("kernel/linux/src/table.rs");
    let source =
        std::fs::read_to_string(&table).map_err(|e| format!("cannot read {}: {e}", table.display()))?;
    parse(&source)
}

/// Parses the lines `#[all_registers] number name(arguments) -> result path, "note";`, the mark being for some, between `system_calls! {` and its closing brace.
///
/// # Errors
/// If a line is no entry, or a number is there twice.
pub fn parse(source: &str) -> Result<Vec<SystemCall>, String> {
    let (_, body) = source.split_once("\nsystem_calls! {").ok_or("no `system_calls! {` in the table")?;
    let (body, _) = body.split_once("\n}").ok_or("the table has no closing brace")?;
    let mut calls = Vec::new();
    // rustfmt leaves macro bodies alone, but an entry may be wrapped by hand: entries end in `";`.
    let uncommented: String =
        body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for entry in uncommented.split("\";").map(str::trim).filter(|entry| !entry.is_empty()) {
        calls.push(parse_entry(entry).ok_or_else(|| format!("cannot read the table entry `{entry}`"))?);
    }
    calls.sort_by_key(|call| call.number);
    if let Some(pair) = calls.windows(2).find(|pair| pair[0].number == pair[1].number) {
        return Err(format!("number {} is in the table twice", pair[0].number));
    }
    Ok(calls)
}

fn parse_entry(entry: &str) -> Option<SystemCall> {
    let (head, note) = entry.split_once('"')?;
    let head = head.trim();
    let head = head.strip_prefix("#[all_registers]").unwrap_or(head).trim_start();
    let (number, rest) = head.split_once(char::is_whitespace)?;
    let (name, rest) = rest.split_once('(')?;
    let (arguments, rest) = rest.split_once(')')?;
    let rest = rest.trim().trim_end_matches(',');
    let (result, function) = match rest.strip_prefix("->") {
        Some(typed) => {
            let (kind, function) = typed.trim().split_once(char::is_whitespace)?;
            (Some(kind.to_string()), function)
        }
        None => (None, rest),
    };
    Some(SystemCall {
        number: number.parse().ok()?,
        name: name.trim().to_string(),
        arguments: arguments
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(parse_argument)
            .collect(),
        result,
        function: function.trim().to_string(),
        note: note.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

fn parse_argument(word: &str) -> Argument {
    match word.strip_prefix('&') {
        Some(kind) => Argument { pointer: true, kind: kind.trim().to_string() },
        None => Argument { pointer: false, kind: word.to_string() },
    }
}

/// The page of the book.
pub fn to_markdown(calls: &[SystemCall]) -> String {
    let mut page = String::from(
        "# System calls\n\n<!-- Generated: cargo run -p xtask -- system-calls --write docs/src/system-calls.md -->\n\n",
    );
    let _ = writeln!(
        page,
        "{} system calls have a function. Every other one returns `ENOSYS`, and is named once in the log.\n\n\
         | number | call | what is supported | function |\n|---|---|---|---|",
        calls.len()
    );
    for call in calls {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | `{}` |",
            call.number,
            call.name,
            call.note.replace('|', "\\|"),
            call.function
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "x\nsystem_calls! {\n    // files\n    3 close(fd) file::close, \"all\";\n    0 read(fd, &bytes, len) -> fd file::read,\n        \"all | most\";\n}\n";

    #[test]
    fn reads_entries_in_order_of_number() {
        let calls = parse(TABLE).unwrap();
        assert_eq!(calls.iter().map(|c| c.number).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(calls[1].function, "file::close");
        assert_eq!(calls[1].note, "all");
    }

    #[test]
    fn reads_arguments_and_result() {
        let calls = parse(TABLE).unwrap();
        let words: Vec<_> = calls[0].arguments.iter().map(|a| (a.pointer, a.kind.as_str())).collect();
        assert_eq!(words, [(false, "fd"), (true, "bytes"), (false, "len")]);
        assert_eq!(calls[0].result.as_deref(), Some("fd"));
        assert_eq!((calls[1].arguments.len(), calls[1].result.as_deref()), (1, None));
    }

    #[test]
    fn refuses_a_number_given_twice() {
        assert!(parse(&TABLE.replace("3 close", "0 close")).unwrap_err().contains("twice"));
    }

    #[test]
    fn prints_a_row_for_each_call() {
        let page = to_markdown(&parse(TABLE).unwrap());
        assert!(page.contains("2 system calls"));
        assert!(page.contains("| 3 | `close` | all | `file::close` |"));
    }
}
