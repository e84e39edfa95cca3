//! Files of /proc and /sys; with full access, all files.
use super::answer::Answer;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::inode::Link;
use coracle_core::fs::open;
use coracle_core::fs::walk::{Bounds, Limits};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::process;
use coracle_core::this;
use coracle_fallible::Text;
use linux_raw_sys::general::{O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY};

/// Where all files are that can be asked for.
const TREES: [&[u8]; 2] = [b"/proc/", b"/sys/"];

/// Opens a file. Without full access, EACCES beyond /proc and /sys; ELOOP on the way through a link, which could lead there.
fn open(path: &[u8], flags: u32) -> Result<Arc<OpenFile>, Errno> {
    let context = this::with(|me| me.process.fs.clone());
    if super::is_full() {
        return open::open(&context, None, path, flags | O_NONBLOCK | O_NOCTTY, 0, Bounds::default());
    }
    let is_within = TREES.iter().any(|tree| path.starts_with(tree));
    if !is_within || path.split(|&byte| byte == b'/').any(|name| name == b"..") {
        return Err(Errno::ACCES);
    }
    let limits = Limits { no_links: true, no_jumps: true, ..Limits::default() };
    open::open(&context, None, path, flags, 0, Bounds { limits, ..Bounds::default() })
}

/// The contents of a file.
pub fn read(path: &[u8], answer: &mut Answer) -> Result<(), Errno> {
    let open = open(path, O_RDONLY | O_NONBLOCK)?;
    let mut offset = 0;
    loop {
        let done =
            answer.fill(usize::MAX, |place| open.file.read(&mut UserBuf::kernel_out(place), offset, true))?;
        if done == 0 {
            return Ok(());
        }
        offset += done as u64;
    }
}

/// Up to `len` bytes of any file from `offset` on, for one with full access.
pub fn part(path: &[u8], mut offset: u64, mut len: usize, answer: &mut Answer) -> Result<(), Errno> {
    let context = match process::by_pid(1) {
        Some(process) => process.fs.clone(),
        None => this::with(|me| me.process.fs.clone()),
    };
    let open = open::open(&context, None, path, O_RDONLY | O_NONBLOCK, 0, Bounds::default())?;
    while len > 0 {
        let done = answer.fill(len, |place| open.file.read(&mut UserBuf::kernel_out(place), offset, true))?;
        if done == 0 {
            break;
        }
        offset += done as u64;
        len -= done.min(len);
    }
    Ok(())
}

/// The names in a directory, a zero after each.
pub fn list(path: &[u8], answer: &mut Answer) -> Result<(), Errno> {
    let open = open(path, O_RDONLY | O_DIRECTORY)?;
    let inode = open.file.place().ok_or(Errno::NOTDIR)?.path.inode.clone();
    let (mut names, mut from) = (Text::new(), 0);
    loop {
        names.clear();
        let mut result = Ok(());
        let before = from;
        // The directory is locked meanwhile: nothing is sent there.
        inode.list(from, &mut |entry| {
            result = names.push(entry.name).and_then(|()| names.push(b"\0"));
            from = entry.next;
            result.is_ok() && names.len() < coracle_control::PIECE_BYTES
        })?;
        result?;
        if from == before {
            return Ok(());
        }
        answer.push(names.as_bytes())?;
    }
}

/// Where a link leads.
pub fn link(path: &[u8], answer: &mut Answer) -> Result<(), Errno> {
    let open = open(path, O_PATH | O_NOFOLLOW)?;
    let place = open.file.place().ok_or(Errno::INVAL)?;
    let mut text = Text::new();
    match place.path.inode.link()? {
        Link::Path(target) => text.push(&target)?,
        Link::Place(path) => path.write_or_deleted(&mut text)?,
        Link::File(file) => file.path(&mut text)?,
    }
    answer.push(text.as_bytes())
}
