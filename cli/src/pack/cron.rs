//! `[[cron]]` in Coracle.toml: jobs that the guest starts beside its program, compiled to what the kernel follows.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use coracle_cron::{Job, Overlap, Schedule, Zone};
use serde::Deserialize;

use super::program::{self, Program};
use super::root::Root;
use crate::error::{Error, Result};

/// Where the time zones of this machine are (tzfile(5)).
const ZONES: &str = "/usr/share/zoneinfo";

/// A job, as Coracle.toml has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What `coracle ps` calls it; that of its program unless it is said.
    name: Option<String>,
    /// When it is due (crontab(5)).
    schedule: String,
    /// The program and its arguments.
    command: Command,
    /// What happens when it is due and runs still.
    #[serde(default)]
    overlap: OverlapWord,
    /// The time zone of the schedule: UTC unless it is said.
    timezone: Option<String>,
}

/// A command: words, or a line that is split as a shell splits it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Command {
    Words(Vec<String>),
    Line(String),
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OverlapWord {
    #[default]
    Skip,
    Queue,
    Kill,
}

/// A job that is compiled.
#[derive(Debug)]
pub struct Compiled {
    /// Its name.
    pub name: String,
    /// What the kernel reads ([`Job`]).
    pub bytes: Vec<u8>,
    /// The files that it needs in the image.
    pub files: Vec<PathBuf>,
}

impl Settings {
    /// Compiles the job, whose program is in that tree.
    ///
    /// # Errors
    /// If a part of it means nothing, or its program is not there.
    pub fn compile(&self, root: &Root) -> Result<Compiled> {
        let wrong = |why: String| {
            Error::new(format!("the job `{}` of the schedule cannot be used", self.shown()))
                .why(why)
                .help("the guide lists what may stand below [[cron]] (docs, `Cron`)")
        };
        let schedule: Schedule = self.schedule.parse().map_err(wrong)?;
        let zone = zone(self.timezone.as_deref().unwrap_or("UTC")).map_err(wrong)?;
        let words = self.words().filter(|words| !words.is_empty());
        let words =
            words.ok_or_else(|| wrong("its command is empty, or has quotes that do not end".to_owned()))?;
        let explain = |error: Error| wrong(error.to_string());
        let found = program::find(OsStr::new(&words[0]), root).map_err(explain)?;
        let arguments: Vec<OsString> = words[1..].iter().map(OsString::from).collect();
        let program = Program::read(&found, root, &arguments).map_err(explain)?;
        let mut command = program.path.as_os_str().as_bytes().to_vec();
        command.push(0);
        for argument in &program.args {
            command.extend(argument.as_bytes());
            command.push(0);
        }
        let overlap = match self.overlap {
            OverlapWord::Skip => Overlap::Skip,
            OverlapWord::Queue => Overlap::Queue,
            OverlapWord::Kill => Overlap::Kill,
        };
        let head = Job { schedule, zone, overlap, command: &command }.head();
        let mut files = program.scripts;
        files.push(program.path);
        Ok(Compiled { name: self.shown(), bytes: [&head[..], &command].concat(), files })
    }

    fn words(&self) -> Option<Vec<String>> {
        match &self.command {
            Command::Words(words) => Some(words.clone()),
            Command::Line(line) => shlex::split(line),
        }
    }

    /// Its name, or that of its program.
    pub fn shown(&self) -> String {
        let program = || {
            let words = self.words().unwrap_or_default();
            words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default().to_owned()
        };
        self.name.clone().unwrap_or_else(program)
    }

    /// Makes a relative path of the program one below `base`.
    pub fn put_under(&mut self, base: &std::path::Path) {
        if let Some(mut words) = self.words()
            && let Some(first) = words.first_mut()
            && first.contains('/')
            && let Some(path) = base.join(&*first).to_str()
        {
            *first = path.to_owned();
            self.command = Command::Words(words);
        }
    }
}

/// A zone by its name, such as `Europe/Berlin`, or by a rule, such as `CET-1CEST,M3.5.0,M10.5.0/3` (POSIX.1-2024, TZ).
fn zone(name: &str) -> Result<Zone, String> {
    if name == "UTC" {
        return Ok(Zone::default());
    }
    if let Ok(zone) = name.parse() {
        return Ok(zone);
    }
    let is_fit =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !name.split('/').any(|part| part == "..");
    let unknown = || format!("there is no time zone `{name}` in {ZONES}; a name is such as Europe/Berlin");
    let bytes = fs::read(PathBuf::from(ZONES).join(name)).ok().filter(|_| is_fit).ok_or_else(unknown)?;
    // The last line has the rule for the years to come (tzfile(5)).
    let rule = bytes.strip_suffix(b"\n").and_then(|bytes| bytes.rsplit(|&byte| byte == b'\n').next());
    let rule = rule.and_then(|rule| std::str::from_utf8(rule).ok()).filter(|_| bytes.starts_with(b"TZif"));
    rule.and_then(|rule| rule.parse().ok())
        .ok_or_else(|| format!("the time zone `{name}` has no rule for the years to come"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<Compiled, String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.compile(&Root::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_is_compiled() {
        let job = compiled(
            "schedule = '@daily'\ncommand = \"sh -c 'echo  a b'\"\ntimezone = 'CET-1'\noverlap = 'kill'",
        )
        .unwrap();
        let read = Job::decode(&job.bytes).unwrap();
        assert_eq!((job.name.as_str(), read.overlap, read.zone.offset_s), ("sh", Overlap::Kill, 3600));
        let words: Vec<&[u8]> = read.command.split(|&byte| byte == 0).collect();
        assert_eq!(words[2..], [&b"-c"[..], b"echo  a b", b""]);
        assert!(job.files.iter().any(|file| file.ends_with("sh")));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for text in [
            "schedule = '* * *'\ncommand = 'sh'",
            "schedule = '@daily'\ncommand = ''",
            "schedule = '@daily'\ncommand = 'no-such-program-at-all'",
            "schedule = '@daily'\ncommand = 'sh'\ntimezone = 'Mars/Olympus'",
            "schedule = '@daily'\ncommand = 'sh'\ntimezone = '../../../etc/passwd'",
            "schedule = '@daily'\ncommand = 'sh'\noverlap = 'wait'",
            "schedule = '@daily'",
        ] {
            assert!(compiled(text).is_err(), "{text}");
        }
    }
}
