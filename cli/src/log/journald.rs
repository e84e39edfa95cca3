//! The driver `journald`: systemd's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::outlet::Destination;
use super::record::{Record, Stream};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Journald.
pub struct Journald {
    socket: PathBuf,
    name: String,
    tag: String,
    facility: u8,
    connection: Option<UnixDatagram>,
}

impl Journald {
    /// At this socket; lines get the guest's name, and a tag.
    pub fn new(socket: PathBuf, name: String, tag: String, facility: u8) -> Journald {
        Journald { socket, name, tag, facility, connection: None }
    }

    fn entry(&self, record: &Record) -> Vec<u8> {
        let priority = record.priority(self.facility);
        let mut entry = Vec::new();
        let mut put = |name: &str, value: &[u8]| {
            entry.extend_from_slice(name.as_bytes());
            if value.contains(&b'\n') {
                entry.push(b'\n');
                entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                entry.push(b'=');
            }
            entry.extend_from_slice(value);
            entry.push(b'\n');
        };
        put("MESSAGE", &record.text);
        put("PRIORITY", priority.severity().to_string().as_bytes());
        put("SYSLOG_FACILITY", priority.facility().to_string().as_bytes());
        put("CORACLE_NAME", self.name.as_bytes());
        put("CORACLE_STREAM", record.stream.name().as_bytes());
        put("SYSLOG_TIMESTAMP", super::json_file::time(record.time).as_bytes());
        let tag = match &record.origin {
            Some(origin) if !origin.tag.is_empty() => &origin.tag,
            None if record.stream == Stream::Kernel => "kernel",
            _ => &self.tag,
        };
        put("SYSLOG_IDENTIFIER", tag.as_bytes());
        if let Some(pid) = record.origin.as_ref().and_then(|origin| origin.pid) {
            put("SYSLOG_PID", pid.to_string().as_bytes());
        }
        if record.is_part {
            put("CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        entry
    }
}

impl Destination for Journald {
    fn take(&mut self, record: &Record) -> io::Result<()> {
        let entry = self.entry(record);
        let socket = match &self.connection {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.socket)?;
                self.connection.insert(socket)
            }
        };
        let sent = match socket.send(&entry) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => send_file(socket, &entry),
            other => other.map(|_| ()),
        };
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }
}

/// An entry that is too long for a datagram goes as a sealed file in memory.
fn send_file(socket: &UnixDatagram, entry: &[u8]) -> io::Result<()> {
    let mut file =
        File::from(memfd_create("journal-entry", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?);
    file.write_all(entry)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let descriptors = [file.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[], &mut control, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut journald = Journald::new(path, "cache".into(), "tag".into(), 3);
        journald.take(&Record::line(Stream::Stderr, "no room\n")).unwrap();
        let mut buffer = [0; 1000];
        let len = socket.recv(&mut buffer).unwrap();
        let entry = String::from_utf8_lossy(&buffer[..len]);
        assert!(
            entry.starts_with("MESSAGE\n\u{8}\0\0\0\0\0\0\0no room\n\nPRIORITY=3\nSYSLOG_FACILITY=3\n"),
            "{entry:?}"
        );
        assert!(
            entry.contains("CORACLE_NAME=cache\nCORACLE_STREAM=stderr\n")
                && entry.contains("SYSLOG_IDENTIFIER=tag\n")
        );
    }
}
