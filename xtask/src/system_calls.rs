//! Reads the kernel's system-call table and prints it as a page of the book.
use std::fmt::Write;

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Linux's number on x86-64.
    pub number: u32,
    /// Linux's name.
    pub name: String,
    /// The function's module, from which the source file follows.
    pub function: String,
    /// What of the call is supported.
    pub note: String,
}

/// Parses the lines `number name path "note";` between `system_calls! {` and its closing brace.
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
    let mut words = head.trim().trim_end_matches(',').split_whitespace();
    Some(SystemCall {
        number: words.next()?.parse().ok()?,
        name: words.next()?.to_string(),
        function: words.next()?.trim_end_matches(',').to_string(),
        note: note.split_whitespace().collect::<Vec<_>>().join(" "),
    })
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

    const TABLE: &str = "x\nsystem_calls! {\n    // files\n    3 close file::close, \"all\";\n    0 read file::read,\n        \"all | most\";\n}\n";

    #[test]
    fn reads_entries_in_order_of_number() {
        let calls = parse(TABLE).unwrap();
        assert_eq!(calls.iter().map(|c| c.number).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(calls[1].function, "file::close");
        assert_eq!(calls[1].note, "all");
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
