//! The driver `json-file`: a JSON object a line, with the names that docker's driver gives to the values, and rotation by size.
//!
//! ```json
//! {"log":"ready\n","stream":"stdout","time":"2026-11-29T18:05:00.123456789Z"}
//! {"log":"no such user\n","stream":"syslog","time":"…","facility":"auth","severity":"err","tag":"login","pid":7}
//! ```
//!
//! A record whose `log` has no line feed at its end is continued by the next of its stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::outlet::Destination;
use super::priority::Priority;
use super::record::{Origin, Record, Stream};

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    log: std::borrow::Cow<'a, str>,
    stream: std::borrow::Cow<'a, str>,
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facility: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

/// A time as it is written: RFC 3339 in UTC, with nanoseconds.
pub fn time(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// A record as a line of the file. Bytes that are not UTF-8 become U+FFFD, as docker has it.
pub fn encode(record: &Record) -> Vec<u8> {
    let end = if record.is_part { "" } else { "\n" };
    let origin = record.origin.as_ref();
    let line = Line {
        log: (String::from_utf8_lossy(&record.text) + end),
        stream: record.stream.name().into(),
        time: time(record.time),
        facility: origin.map(|origin| origin.priority.facility_name().to_owned()),
        severity: origin.map(|origin| origin.priority.severity_name().to_owned()),
        tag: origin.map(|origin| origin.tag.clone()),
        pid: origin.and_then(|origin| origin.pid),
    };
    // Strings and numbers can always be written.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The record of a line; `None` if it is not one.
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let line: Line<'_> = serde_json::from_slice(bytes).ok()?;
    let priority = line.facility.as_deref().zip(line.severity.as_deref());
    let priority = priority.and_then(|(facility, severity)| Priority::of_names(facility, severity));
    let text = line.log.strip_suffix('\n');
    Some(Record {
        time: line.time.parse().ok()?,
        stream: Stream::of_name(&line.stream)?,
        origin: priority.map(|priority| Origin {
            priority,
            tag: line.tag.unwrap_or_default(),
            pid: line.pid,
        }),
        is_part: text.is_none(),
        text: text.unwrap_or(&line.log).as_bytes().to_vec(),
    })
}

/// The file of the `index`th age: 0 is the one that is written to.
pub fn aged(path: &Path, index: u32) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// Says where the file is, which a guest that is renamed changes.
pub type Place = Box<dyn Fn() -> io::Result<PathBuf> + Send>;

/// Writes the files.
pub struct JsonFile {
    place: Place,
    /// Bytes of a file, beyond which a new one is begun; 0: no limit.
    most_bytes: u64,
    /// Files, the one that is written to among them.
    most_files: u32,
    /// The file that is written to, and its bytes.
    file: Option<(File, u64)>,
}

impl JsonFile {
    /// At this place.
    pub fn new(place: Place, most_bytes: u64, most_files: u32) -> JsonFile {
        JsonFile { place, most_bytes, most_files: most_files.max(1), file: None }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open((self.place)()?)?;
        let len = file.metadata()?.len();
        Ok((file, len))
    }

    /// Makes each file one older, and forgets the oldest.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let path = (self.place)()?;
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        };
        fs::remove_file(aged(&path, self.most_files - 1)).or_else(missing)?;
        for index in (1..self.most_files).rev() {
            fs::rename(aged(&path, index - 1), aged(&path, index)).or_else(missing)?;
        }
        Ok(())
    }
}

impl Destination for JsonFile {
    fn take(&mut self, record: &Record) -> io::Result<()> {
        let bytes = encode(record);
        let added = bytes.len() as u64;
        let is_full = |len: u64| self.most_bytes > 0 && len > 0 && len + added > self.most_bytes;
        if self.file.as_ref().is_some_and(|(_, len)| is_full(*len)) {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        let Some((file, len)) = &mut self.file else { return Ok(()) };
        match file.write_all(&bytes) {
            Ok(()) => {
                *len += added;
                Ok(())
            }
            Err(error) => {
                // What was written of it would stand before the next attempt.
                file.set_len(*len)?;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_written() {
        let mut record = Record::line(Stream::Stderr, "a \"b\" \u{7} é");
        assert_eq!(decode(&encode(&record)), Some(record.clone()));
        record.is_part = true;
        assert_eq!(decode(&encode(&record)), Some(record.clone()));
        let priority = Priority::new(4, 2);
        record.origin = Some(Origin { priority, tag: "login".into(), pid: Some(7) });
        record.stream = Stream::Syslog;
        assert_eq!(decode(&encode(&record)), Some(record));
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(b"no json"), None);
    }

    fn place(path: PathBuf) -> Place {
        Box::new(move || Ok(path.clone()))
    }

    #[test]
    fn files_are_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let size = encode(&Record::line(Stream::Stdout, "0")).len() as u64;
        let mut log = JsonFile::new(place(path.clone()), 2 * size, 3);
        (0..9).for_each(|n| log.take(&Record::line(Stream::Stdout, n.to_string())).unwrap());
        let lines = |index| {
            let text = fs::read(aged(&path, index)).unwrap_or_default();
            let lines = text.split(|&byte| byte == b'\n').filter_map(decode);
            lines.map(|record| String::from_utf8(record.text).unwrap()).collect::<Vec<_>>().concat()
        };
        assert_eq!([lines(0), lines(1), lines(2), lines(3)], ["8", "67", "45", ""]);
    }
}
