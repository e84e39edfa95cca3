//! What a run gave, and how two of them are compared.
use similar::TextDiff;
use std::fmt::Write as _;

use crate::describe::Program;

/// How long the parts of a log may be that a failure shows.
const SHOWN: usize = 6000;

/// What a program printed and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Standard output and standard error, as they came.
    pub output: Vec<u8>,
    /// The exit status; 128 and the signal's number where one ended it.
    pub status: i32,
    /// What the guest and the command said beside it.
    pub log: String,
    /// Whether it was ended for taking too long.
    pub timed_out: bool,
}

impl Outcome {
    /// The output as text; bytes that are none are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The output with its lines in order, for programs that leave that open.
    pub fn sorted(mut self) -> Self {
        let text = self.text();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        self.output = lines.join("\n").into_bytes();
        self
    }

    /// What to show of a run that went wrong.
    pub fn evidence(&self) -> String {
        let mut text = format!(
            "status {}{}\n",
            self.status,
            if self.timed_out { " (ended: it took too long)" } else { "" }
        );
        let _ = writeln!(
            text,
            "--- its output:\n{}\n--- the guest's log:\n{}",
            tail(&self.text()),
            tail(&self.log)
        );
        text
    }
}

/// The end of a text that is too long to show.
fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(SHOWN);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Whether a run on Coracle is as it should be: like the one on Linux, where there is one, else as the program's description says.
///
/// # Errors
/// What is wrong.
pub fn check(program: &Program, linux: Option<&Outcome>, guest: &Outcome) -> Result<(), String> {
    if let Some(linux) = linux {
        compare(linux, guest)?;
    } else {
        let text = guest.text();
        let missing = program.stdout_has.iter().find(|wanted| !text.contains(wanted.as_str()));
        if let Some(missing) = missing {
            return Err(format!("it does not print {missing:?}: {}", guest.evidence()));
        }
        if guest.status != 0 || guest.timed_out {
            return Err(format!("it fails: {}", guest.evidence()));
        }
    }
    match program.report.iter().find(|wanted| !guest.log.contains(wanted.as_str())) {
        Some(missing) => {
            Err(format!("the report of its death does not say {missing:?}: {}", guest.evidence()))
        }
        None => Ok(()),
    }
}

/// Compares a run on Coracle with the one on Linux.
///
/// # Errors
/// The difference, with the guest's log.
pub fn compare(linux: &Outcome, guest: &Outcome) -> Result<(), String> {
    if linux.output == guest.output && linux.status == guest.status && !guest.timed_out {
        return Ok(());
    }
    let mut text = String::new();
    if linux.status != guest.status || guest.timed_out {
        let why = if guest.timed_out { " (ended: it took too long)" } else { "" };
        let _ = writeln!(text, "status on Linux: {}, on Coracle: {}{why}", linux.status, guest.status);
    }
    if linux.output != guest.output {
        let (expected, got) = (linux.text(), guest.text());
        let diff = TextDiff::from_lines(&expected, &got);
        let _ = writeln!(
            text,
            "{}",
            tail(&diff.unified_diff().context_radius(2).header("Linux", "Coracle").to_string())
        );
    }
    let _ = writeln!(text, "--- the guest's log:\n{}", tail(&guest.log));
    Err(text)
}
