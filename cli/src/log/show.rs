//! `coracle logs`.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::data::{self, LOG, MOST_FILES};
use super::json_file::{self, aged};
use super::record::{Record, Stream};
use crate::args::LogsArgs;
use crate::error::{Error, Result, cannot, warn};
use crate::instances;

/// How often the end of a log that is followed is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// A file of a log, and what of it was not a whole line yet.
struct Open {
    file: File,
    inode: u64,
    held: Vec<u8>,
}

/// Reads a log, whose files may be rotated meanwhile.
struct Reader {
    path: PathBuf,
    /// The files that are still to be read, the oldest first.
    files: VecDeque<Open>,
    /// Files were rotated away before they were read.
    has_gap: bool,
}

fn open(path: &Path) -> Result<Option<Open>> {
    let fail = |error: std::io::Error| cannot("read", path, &error);
    match File::open(path) {
        Ok(file) => {
            let inode = file.metadata().map_err(fail)?.ino();
            Ok(Some(Open { file, inode, held: Vec::new() }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

/// All files of a log, the oldest first.
fn open_all(path: &Path) -> Result<VecDeque<Open>> {
    let mut files: VecDeque<Open> = VecDeque::new();
    for index in (0..MOST_FILES).rev() {
        let found = open(&aged(path, index))?;
        // One that was made older meanwhile was opened before.
        files.extend(found.filter(|found| files.iter().all(|file| file.inode != found.inode)));
    }
    Ok(files)
}

impl Reader {
    fn new(path: PathBuf) -> Result<Reader> {
        let files = open_all(&path)?;
        Ok(Reader { path, files, has_gap: false })
    }

    /// Passes on the records that there are now, and not what is written meanwhile: that may never end.
    fn read(&mut self, mut pass: impl FnMut(Record)) -> Result<()> {
        let mut piece = vec![0; PIECE];
        while let Some(open) = self.files.front_mut() {
            let fail = |error: std::io::Error| cannot("read", &self.path, &error);
            let end = open.file.metadata().map_err(fail)?.len();
            let mut rest =
                (&open.file).take(end.saturating_sub((&open.file).stream_position().map_err(fail)?));
            loop {
                let read = rest.read(&mut piece).map_err(fail)?;
                if read == 0 {
                    break;
                }
                open.held.extend_from_slice(&piece[..read]);
                let whole = open.held.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                for line in open.held[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                    // A line that is none was written by another program.
                    json_file::decode(line).into_iter().for_each(&mut pass);
                }
                open.held.drain(..whole);
            }
            if self.files.len() == 1 {
                return Ok(());
            }
            self.files.pop_front();
        }
        Ok(())
    }

    /// Looks for files that are newer than the one that was read last. Returns whether there are any.
    fn advance(&mut self) -> Result<bool> {
        let Some(last) = self.files.front().map(|open| open.inode) else {
            self.files = open_all(&self.path)?;
            return Ok(!self.files.is_empty());
        };
        if fs::metadata(&self.path).is_ok_and(|meta| meta.ino() == last) {
            return Ok(false);
        }
        let mut all = open_all(&self.path)?;
        match all.iter().position(|open| open.inode == last) {
            Some(at) => all.drain(..=at).for_each(drop),
            None => self.has_gap |= !all.is_empty(),
        }
        let is_new = !all.is_empty();
        self.files.extend(all);
        Ok(is_new)
    }
}

/// Prints records.
struct Printer<'a> {
    args: &'a LogsArgs,
    /// Streams whose last record was a part of a line.
    unfinished: Vec<Stream>,
    /// The reader of the output is gone.
    is_closed: bool,
}

impl Printer<'_> {
    /// Whether a record is wanted.
    fn wants(&self, record: &Record) -> bool {
        let args = self.args;
        let chosen = [
            (args.stdout, Stream::Stdout),
            (args.stderr, Stream::Stderr),
            (args.kernel, Stream::Kernel),
            (args.syslog, Stream::Syslog),
        ];
        let has_choice = chosen.iter().any(|(is_wanted, _)| *is_wanted);
        let is_chosen = !has_choice || chosen.contains(&(true, record.stream));
        is_chosen && args.since.is_none_or(|since| record.time >= since) && !self.is_late(record.time)
    }

    fn is_late(&self, time: Timestamp) -> bool {
        self.args.until.is_some_and(|until| time > until)
    }

    fn print(&mut self, record: &Record) {
        let is_error = matches!(record.stream, Stream::Stderr | Stream::Kernel);
        let text = if self.args.json { json_file::encode(record) } else { self.text(record) };
        let written = match is_error && !self.args.json {
            true => std::io::stderr().lock().write_all(&text),
            false => {
                let mut out = std::io::stdout().lock();
                out.write_all(&text).and_then(|()| out.flush())
            }
        };
        self.is_closed |= written.is_err();
    }

    /// A record as a line for people.
    fn text(&mut self, record: &Record) -> Vec<u8> {
        let mut text = Vec::new();
        let place = self.unfinished.iter().position(|stream| *stream == record.stream);
        if let Some(place) = place {
            self.unfinished.swap_remove(place);
        } else {
            if self.args.timestamps {
                text.extend_from_slice(json_file::time(record.time).as_bytes());
                text.push(b' ');
            }
            match (&record.origin, record.stream) {
                (Some(origin), _) => {
                    let pid = origin.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
                    text.extend_from_slice(format!("{}{pid}: ", origin.tag).as_bytes());
                }
                (None, Stream::Kernel) => text.extend_from_slice(b"coracle: "),
                _ => {}
            }
        }
        text.extend_from_slice(&record.text);
        if record.is_part {
            self.unfinished.push(record.stream);
        } else {
            text.push(b'\n');
        }
        text
    }
}

/// The last lines, each with all its parts.
struct Tail {
    lines: VecDeque<Vec<Record>>,
    most: usize,
    /// How many lines went before, and which line of all is unfinished in each stream.
    dropped: usize,
    unfinished: HashMap<&'static str, usize>,
}

impl Tail {
    fn new(most: usize) -> Tail {
        Tail { lines: VecDeque::new(), most, dropped: 0, unfinished: HashMap::new() }
    }

    fn take(&mut self, record: Record) {
        let stream = record.stream.name();
        let is_part = record.is_part;
        let line = match self.unfinished.remove(stream) {
            Some(line) => {
                if let Some(parts) = line.checked_sub(self.dropped).and_then(|at| self.lines.get_mut(at)) {
                    parts.push(record);
                }
                line
            }
            None => {
                self.lines.push_back(vec![record]);
                self.dropped + self.lines.len() - 1
            }
        };
        if is_part {
            self.unfinished.insert(stream, line);
        }
        while self.lines.len() > self.most {
            self.lines.pop_front();
            self.dropped += 1;
        }
    }
}

/// `coracle logs`
pub fn logs(args: &LogsArgs) -> Result<()> {
    let is_running = || instances::is_running(&args.name);
    // Looked at before reading, so that the last words are not missed.
    let mut runs = is_running()?;
    let note = data::note(&args.name);
    let driver = note.as_ref().map(|note| note.driver.as_str()).unwrap_or("json-file");
    let mut reader = Reader::new(instances::file(&args.name, LOG)?)?;
    if reader.files.is_empty() && driver != "json-file" {
        return Err(kept_elsewhere(&args.name, driver));
    }
    if reader.files.is_empty() && note.is_none() {
        return Err(Error::new(format!("there is no log of `{}`", args.name))
            .why("only guests started with -d, or with --log-driver, have one"));
    }
    let mut printer = Printer { args, unfinished: Vec::new(), is_closed: false };
    if let Some(lines) = args.tail {
        let mut tail = Tail::new(lines);
        reader.read(|record| {
            if printer.wants(&record) {
                tail.take(record);
            }
        })?;
        tail.lines.iter().flatten().for_each(|record| printer.print(record));
    }
    // What came after the last lines is not among them.
    let mut goes_on = args.tail.is_none() || args.follow;
    while goes_on {
        reader.read(|record| {
            if printer.wants(&record) && !printer.is_closed {
                printer.print(&record);
            }
        })?;
        if printer.is_closed {
            return Ok(());
        }
        if reader.advance()? {
            continue;
        }
        goes_on = args.follow && runs && !printer.is_late(Timestamp::now());
        if goes_on {
            thread::sleep(GLANCE);
            runs = is_running()?;
        }
    }
    if reader.has_gap {
        warn("lines are missing: they were rotated away before they were shown");
    }
    if let Some(note) = data::note(&args.name) {
        if note.lost > 0 {
            warn(format_args!("{} lines of the log were lost", note.lost));
        }
        note.trouble.iter().for_each(|trouble| warn(format_args!("lines can't be kept now: {trouble}")));
    }
    Ok(())
}

/// The log since a time as text, if it is in files: all that a guest said that ended at once.
pub fn text(name: &str, since: Timestamp) -> String {
    let args = LogsArgs { name: name.to_owned(), ..LogsArgs::default() };
    let mut printer = Printer { args: &args, unfinished: Vec::new(), is_closed: false };
    let mut text = Vec::new();
    // Without a log there is nothing to show.
    let _ = instances::file(name, LOG).and_then(Reader::new).and_then(|mut reader| {
        reader.read(|record| {
            if record.time >= since {
                text.extend(printer.text(&record));
            }
        })
    });
    String::from_utf8_lossy(&text).into_owned()
}

fn kept_elsewhere(name: &str, driver: &str) -> Error {
    let error = Error::new(format!("`coracle logs` has nothing of `{name}`"));
    match driver {
        "journald" => error.why("its lines go to journald").help(format!("journalctl CORACLE_NAME={name}")),
        "syslog" => error.why("its lines go to a syslog daemon").help("look into the daemon's files"),
        _ => error.why("it was started with --log-driver none"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::outlet::Destination as _;
    use super::*;
    use crate::log::json_file::JsonFile;

    #[test]
    fn a_log_is_followed_across_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let line = |n: u32| Record::line(Stream::Stdout, n.to_string());
        let size = json_file::encode(&line(0)).len() as u64;
        let own = path.clone();
        let place = Box::new(move || Ok(own.clone()));
        let mut log = JsonFile::new(place, 2 * size, 3);
        log.take(&line(0)).unwrap();
        let mut reader = Reader::new(path).unwrap();
        let mut seen = String::new();
        for n in 1..9 {
            log.take(&line(n)).unwrap();
            if n % 4 == 0 {
                while {
                    reader.read(|record| seen += &String::from_utf8(record.text).unwrap()).unwrap();
                    reader.advance().unwrap()
                } {}
            }
        }
        assert_eq!((seen.as_str(), reader.has_gap), ("012345678", false));
    }

    #[test]
    fn the_last_lines_have_all_their_parts() {
        let mut tail = Tail::new(2);
        for (text, stream, is_part) in [
            ("1", Stream::Stdout, false),
            ("2a", Stream::Stdout, true),
            ("3", Stream::Stderr, false),
            ("2b", Stream::Stdout, false),
        ] {
            tail.take(Record { is_part, ..Record::line(stream, text) });
        }
        let texts: Vec<_> = tail.lines.iter().flatten().map(|record| record.text.clone()).collect();
        assert_eq!(texts, [b"2a".to_vec(), b"2b".to_vec(), b"3".to_vec()]);
        let mut none = Tail::new(0);
        none.take(Record::line(Stream::Stdout, "x"));
        assert!(none.lines.is_empty());
    }
}
