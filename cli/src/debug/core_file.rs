//! Core files: ELF files with a process's memory, and notes with its threads (core(5), elf(5)).

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use coracle_control::{Debug, Request};

use super::elf_notes::{self as notes, Numbers, kind};
use super::session::{FXSAVE, INFO_BYTES, Session};
use crate::error::{Result, cannot};

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Bytes of an ELF header, and of a program header.
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// Types of program headers, and what a file is.
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
/// Bits of /proc/PID/coredump_filter (core(5)). There are no huge pages, and no DAX.
mod filter {
    /// Private memory without a file.
    pub const ANONYMOUS_PRIVATE: u32 = 1;
    /// Shared memory without a file.
    pub const ANONYMOUS_SHARED: u32 = 2;
    /// Private mappings of files.
    pub const MAPPED_PRIVATE: u32 = 4;
    /// Shared mappings of files.
    pub const MAPPED_SHARED: u32 = 8;
    /// The header of an ELF file.
    pub const ELF_HEADERS: u32 = 16;
    /// What a process has that does not change it.
    pub const DEFAULT: u32 = 0x33;
}
/// Pages whose presence is asked for at once.
const PAGES_AT_ONCE: u64 = 4096;
/// Pages that are read at once.
const READ_AT_ONCE: u64 = 64;

/// Why a core is written: the thread, and the signal that ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cause {
    /// The thread; 0: the first.
    pub tid: u32,
    /// The signal; 0: none.
    pub signal: u8,
}

/// A mapping (proc_pid_maps(5)).
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    /// `rwxp`, with `-` or `s`.
    flags: String,
    name: String,
    /// The program wants it left out (MADV_DONTDUMP).
    is_left_out: bool,
}

impl Mapping {
    fn parse(line: &str) -> Option<Mapping> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let flags = words.next()?.to_owned();
        let offset = hex(words.next()?)?;
        let name = words.skip(2).collect::<Vec<_>>().join(" ");
        Some(Mapping { start: hex(start)?, end: hex(end)?, offset, flags, name, is_left_out: false })
    }

    /// All, from the text of /proc/PID/smaps.
    fn all(smaps: &str) -> Vec<Mapping> {
        let mut all: Vec<Mapping> = Vec::new();
        for line in smaps.lines() {
            match (line.strip_prefix("VmFlags:"), all.last_mut()) {
                (Some(flags), Some(last)) => {
                    last.is_left_out = flags.split_whitespace().any(|flag| flag == "dd");
                }
                // Lines of figures have no two addresses.
                _ => all.extend(Mapping::parse(line)),
            }
        }
        all
    }

    fn is_file(&self) -> bool {
        self.name.starts_with('/')
    }

    fn is(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Bytes of it that the file has, by the process's filter (core(5)). Private memory without a file is also what a program can have
    /// changed of a file's: that is all but code, as the dynamic linker changes data before it protects it.
    fn len(&self, is_elf: bool, filter: u32) -> u64 {
        let has = |bit: u32| filter & bit != 0;
        let whole = self.end - self.start;
        let is_changeable = !self.is('x') || self.is('w');
        // Shared memory that has no name in a file system has this one.
        let is_nameless = !self.is_file() || self.name.ends_with(" (deleted)");
        match self {
            // The memory of the kernel's timekeeping is nobody's.
            _ if !self.is('r') || self.is_left_out || self.name == "[vvar]" => 0,
            _ if self.name == "[vdso]" => whole,
            _ if self.is('s') && is_nameless && has(filter::ANONYMOUS_SHARED) => whole,
            _ if self.is('s') && !is_nameless && has(filter::MAPPED_SHARED) => whole,
            _ if self.is('s') => 0,
            _ if (!self.is_file() || is_changeable) && has(filter::ANONYMOUS_PRIVATE) => whole,
            _ if self.is_file() && has(filter::MAPPED_PRIVATE) => whole,
            _ if is_elf && has(filter::ELF_HEADERS) => PAGE.min(whole),
            _ => 0,
        }
    }

    /// PF_R, PF_W and PF_X.
    fn elf_flags(&self) -> u32 {
        [('r', 4), ('w', 2), ('x', 1)]
            .into_iter()
            .filter(|(flag, _)| self.is(*flag))
            .map(|(_, bit)| bit)
            .sum()
    }
}

/// Writes the core of a process that is stopped, or not, to a new file.
///
/// # Errors
/// If the guest does not answer, or the file can't be written.
pub fn write(session: &mut Session, cause: Cause, path: &Path) -> Result<()> {
    let fail = |error: std::io::Error| cannot("write", path, &error);
    let pid = session.pid;
    let maps = Mapping::all(&session.client.text(&format!("/proc/{pid}/smaps"))?);
    let filter = session.client.text(&format!("/proc/{pid}/coredump_filter"))?;
    // A guest of an earlier version has none.
    let filter = u32::from_str_radix(filter.trim(), 16).unwrap_or(filter::DEFAULT);
    let mut lengths = Vec::new();
    for map in &maps {
        let is_elf = map.is_file() && map.offset == 0 && session.read(map.start, 4)? == b"\x7fELF";
        lengths.push(map.len(is_elf, filter));
    }
    let notes = notes(session, cause, &maps)?;
    let mut file = {
        use std::os::unix::fs::OpenOptionsExt as _;
        // It has all that the program knew.
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(fail)?
    };
    let headers = HEADER + PROGRAM_HEADER * (1 + maps.len() as u64);
    let mut offset = (headers + notes.len() as u64).next_multiple_of(PAGE);
    let mut head = header(1 + maps.len());
    head.extend(program_header((PT_NOTE, 0), headers, 0, (notes.len() as u64, 0), 4));
    let mut places = Vec::new();
    for (map, len) in maps.iter().zip(&lengths) {
        let sizes = (*len, map.end - map.start);
        head.extend(program_header((PT_LOAD, map.elf_flags()), offset, map.start, sizes, PAGE));
        places.push(offset);
        offset += len;
    }
    file.write_all(&head).and_then(|()| file.write_all(&notes)).map_err(fail)?;
    for ((map, len), place) in maps.iter().zip(&lengths).zip(&places) {
        let mut page = 0;
        let present = presence(session, map, *len)?;
        while page < len / PAGE {
            // What is not there is zeroes, which the file has as a hole.
            let count = present[page as usize..]
                .iter()
                .take(READ_AT_ONCE as usize)
                .take_while(|there| **there)
                .count() as u64;
            if count == 0 {
                page += 1;
                continue;
            }
            let bytes = session.client.memory(pid, map.start + page * PAGE, (count * PAGE) as usize)?;
            file.seek(SeekFrom::Start(place + page * PAGE))
                .and_then(|_| file.write_all(&bytes))
                .map_err(fail)?;
            page += count;
        }
    }
    file.set_len(offset).map_err(fail)
}

/// Which pages of a mapping's first `len` bytes have something: all of a file's.
fn presence(session: &mut Session, map: &Mapping, len: u64) -> Result<Vec<bool>> {
    let pages = len / PAGE;
    if map.is_file() {
        return Ok(vec![true; usize::try_from(pages).unwrap_or_default()]);
    }
    let mut all = Vec::new();
    while (all.len() as u64) < pages {
        let done = all.len() as u64;
        let count = u32::try_from((pages - done).min(PAGES_AT_ONCE)).unwrap_or_default();
        let request = Debug::Present { pid: session.pid, address: map.start + done * PAGE, pages: count };
        let answer = session.client.ask(Request::Debug(request))?.unwrap_or_default();
        all.extend(answer.iter().map(|byte| *byte != 0));
        // A process that has ended meanwhile has no more.
        if answer.len() < count as usize {
            all.resize(usize::try_from(pages).unwrap_or_default(), false);
        }
    }
    Ok(all)
}

/// The ELF header.
fn header(program_headers: usize) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    [ET_CORE, EM_X86_64].into_iter().for_each(|half| bytes.extend(half.to_le_bytes()));
    bytes.extend(1u32.to_le_bytes());
    [0, HEADER, 0].into_iter().for_each(|word: u64| bytes.extend(word.to_le_bytes()));
    bytes.extend(0u32.to_le_bytes());
    let count = u16::try_from(program_headers).unwrap_or(u16::MAX);
    [HEADER as u16, PROGRAM_HEADER as u16, count, 0, 0, 0]
        .into_iter()
        .for_each(|half| bytes.extend(half.to_le_bytes()));
    bytes
}

fn program_header(
    (kind, flags): (u32, u32),
    offset: u64,
    address: u64,
    (in_file, in_memory): (u64, u64),
    align: u64,
) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(flags.to_le_bytes());
    [offset, address, 0, in_file, in_memory, align]
        .into_iter()
        .for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes
}

/// All notes: those of the thread that matters, then those of the process, then those of the other threads.
fn notes(session: &mut Session, cause: Cause, maps: &[Mapping]) -> Result<Vec<u8>> {
    let pid = session.pid;
    let stat = session.client.text(&format!("/proc/{pid}/stat"))?;
    let status = session.client.text(&format!("/proc/{pid}/status"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse().ok()).unwrap_or_default();
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let numbers = Numbers {
        pid,
        parent: field(1),
        group: field(2),
        session: field(3),
        uid: id("Uid:"),
        gid: id("Gid:"),
    };
    let state = fields.first().and_then(|text| text.bytes().next()).unwrap_or(b'R');
    let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(name, _)| name);
    let arguments = session.client.text(&format!("/proc/{pid}/cmdline"))?.replace('\0', " ");
    let auxv = session.auxv()?;
    let mut tids: Vec<u64> = session.threads.iter().map(|thread| thread.record.tid).collect();
    tids.sort_by_key(|tid| (*tid != u64::from(cause.tid), *tid));
    let mut out = Vec::new();
    for (index, tid) in tids.into_iter().enumerate() {
        // One may have ended, where the process is not stopped.
        let Ok(thread) = session.state(tid) else { continue };
        let tid = u32::try_from(tid).unwrap_or_default();
        notes::put(&mut out, "CORE", kind::PRSTATUS, &notes::status(tid, &numbers, cause.signal, thread));
        if index == 0 {
            let process = notes::process(&numbers, state, name, arguments.trim_end());
            notes::put(&mut out, "CORE", kind::PRPSINFO, &process);
            let mut info = thread.info.clone();
            info.resize(INFO_BYTES, 0);
            notes::put(&mut out, "CORE", kind::SIGINFO, &info);
            notes::put(&mut out, "CORE", kind::AUXV, &auxv);
            let files = maps.iter().filter(|map| map.is_file());
            let files = files.map(|map| (map.start, map.end, map.offset, map.name.as_str()));
            notes::put(&mut out, "CORE", kind::FILE, &notes::files(files));
        }
        let area = thread.floating();
        if let Some(fixed) = area.get(..FXSAVE) {
            notes::put(&mut out, "CORE", kind::FPREGSET, fixed);
        }
        if let Some(extended) = notes::extended(&area) {
            notes::put(&mut out, "LINUX", kind::X86_XSTATE, &extended);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_core_has_of_a_mapping() {
        let len = |line: &str, is_elf| Mapping::parse(line).map(|map| map.len(is_elf, filter::DEFAULT));
        assert_eq!(len("1000-5000 r-xp 00001000 00:01 7   /bin/a b", false), Some(0));
        assert_eq!(len("1000-5000 r-xp 00000000 00:01 7   /bin/a", true), Some(PAGE));
        assert_eq!(len("1000-5000 rw-p 00001000 00:01 7   /bin/a", false), Some(0x4000));
        assert_eq!(len("1000-5000 rw-p 00000000 00:00 0   [heap]", false), Some(0x4000));
        assert_eq!(len("1000-5000 ---p 00000000 00:00 0", false), Some(0));
        assert_eq!(len("1000-5000 r--p 00000000 00:00 0   [vvar]", false), Some(0));
        let map = Mapping::parse("1000-5000 r-xp 00001000 00:01 7   /bin/a b").unwrap();
        assert_eq!((map.name.as_str(), map.elf_flags(), map.offset), ("/bin/a b", 5, 0x1000));
    }

    #[test]
    fn the_headers_have_their_lengths() {
        assert_eq!(header(3).len() as u64, HEADER);
        assert_eq!(program_header((1, 5), 0, 0, (0, 0), 1).len() as u64, PROGRAM_HEADER);
    }
}
