//! Handles of files: name_to_handle_at(2) and open_by_handle_at(2).
//!
//! A handle has device and inode. Its file is found by a table of the files that handles were asked for, which keeps none of
//! them alive, and is bounded: where an old handle has gone, ESTALE says so.
use super::call::Call;
use super::path::named;
use alloc::sync::{Arc, Weak};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{self, capability, check_capability};
use coracle_core::fs::handle;
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{Path, Place};
use coracle_core::fs::open::open_place;
use coracle_core::lock::Mutex;
use coracle_core::mm::user;
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general::*;

/// Bytes of a `struct file_handle` before the handle itself: its length, and its type.
const HEAD: usize = 8;
/// The most that a handle may have (MAX_HANDLE_SZ).
const MOST: usize = 128;
/// The handle need not be one to open by (AT_HANDLE_FID).
const FID: u32 = AT_REMOVEDIR;
/// Files whose handles are known at most.
const KNOWN: usize = 1024;

static FILES: Mutex<SortedMap<(u64, u64), Weak<dyn Inode>>> = Mutex::new(SortedMap::new());

/// Has a handle of a file be known. ENOMEM.
fn remember(inode: &Arc<dyn Inode>) -> Result<(), Errno> {
    let mut files = FILES.lock();
    let own = inode.identity();
    if files.len() >= KNOWN && !files.contains_key(&own) {
        let gone = files.iter_from(&(0, 0)).find(|(_, file)| file.strong_count() == 0).map(|(key, _)| *key);
        if let Some(key) = gone.or_else(|| files.iter_from(&(0, 0)).next().map(|(key, _)| *key)) {
            files.remove(&key);
        }
    }
    files.insert(own, Arc::downgrade(inode))?;
    Ok(())
}

/// name_to_handle_at(2). EOVERFLOW where there is too little room, with how much is wanted; EOPNOTSUPP for files that have none.
pub fn name_to_handle_at(call: &Call) -> SysResult {
    let (at, mount_id, flags) = (call.usize(2), call.usize(3), call.u32(4));
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | FID) != 0 {
        return Err(Errno::INVAL);
    }
    let follow = if flags & AT_SYMLINK_FOLLOW != 0 { 0 } else { AT_SYMLINK_NOFOLLOW };
    let path = named(call, call.i32(0), call.usize(1), follow | flags & AT_EMPTY_PATH)?
        .place(Errno::OPNOTSUPP)?
        .path;
    handle::check(&path)?;
    let room = user::read_u32(at)? as usize;
    if room > MOST {
        return Err(Errno::INVAL);
    }
    user::write_u32(mount_id, path.mount.id as u32)?;
    if room < handle::BYTES {
        user::write_u32(at, handle::BYTES as u32)?;
        return Err(Errno::OVERFLOW);
    }
    if flags & FID == 0 {
        remember(&path.inode)?;
    }
    user::write_words(at, &handle::words(path.inode.identity()))?;
    Ok(0)
}

/// open_by_handle_at(2). EPERM without CAP_DAC_READ_SEARCH; ESTALE if the file is gone, or lies elsewhere than the descriptor.
pub fn open_by_handle_at(call: &Call) -> SysResult {
    let (at, flags) = (call.usize(1), call.u32(2));
    let head = user::read_u64(at)?;
    let (len, kind) = (head as u32 as usize, (head >> 32) as u32);
    if len == 0 || len > MOST {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let anchor = match call.i32(0) {
        AT_FDCWD => process.fs.directory(),
        fd => process.descriptors.get(fd)?.file.place().ok_or(Errno::BADF)?.path.clone(),
    };
    check_capability(capability::DAC_READ_SEARCH)?;
    if len != handle::BYTES || kind != handle::TYPE {
        return Err(Errno::STALE);
    }
    let [inode, device]: [u64; 2] = user::read_words(at.wrapping_add(HEAD))?;
    let found = FILES.lock().get(&(device, inode)).and_then(Weak::upgrade);
    let is_there =
        |file: &Arc<dyn Inode>| device == anchor.mount.root.identity().0 && file.metadata().links > 0;
    let inode = found.filter(is_there).ok_or(Errno::STALE)?;
    let mode = inode.mode() & S_IFMT;
    let (is_place, writes) = (flags & O_PATH != 0, flags & O_ACCMODE != O_RDONLY);
    if mode == S_IFLNK && !is_place {
        return Err(Errno::LOOP);
    }
    if flags & O_DIRECTORY != 0 && mode != S_IFDIR {
        return Err(Errno::NOTDIR);
    }
    if mode == S_IFDIR && writes && !is_place {
        return Err(Errno::ISDIR);
    }
    let path = Path { mount: anchor.mount, inode };
    let truncates = flags & O_TRUNC != 0 && mode == S_IFREG;
    if !is_place {
        access::check(&*path.inode, access::wanted_by(flags))?;
        if writes || truncates {
            path.check_writable()?;
        }
    }
    let open = open_place(Place { path, name: None }, flags & !(O_CREAT | O_EXCL | O_CLOEXEC), truncates)?;
    Ok(process.descriptors.insert(open, flags & O_CLOEXEC != 0, 0)? as usize)
}
