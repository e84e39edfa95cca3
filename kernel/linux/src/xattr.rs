//! Extended attributes: getxattr(2), setxattr(2), listxattr(2), removexattr(2) and their forms for links and open files.
use super::call::Call;
use super::file::open_file;
use super::path::named;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{READ, WRITE};
use coracle_core::fs::inode::{Changes, Inode};
use coracle_core::fs::mount::Place;
use coracle_core::fs::notify;
use coracle_core::mm::user;
use coracle_fallible::filled;
use coracle_fs::memory::MemoryFile;
use coracle_fs::xattr;
use linux_raw_sys::general::*;

/// What has attributes.
struct Subject {
    place: Option<Place>,
    inode: Option<Arc<dyn Inode>>,
    mode: u32,
}

/// How a call names it.
#[derive(Clone, Copy)]
enum By {
    Path,
    /// A link that the path ends with is not followed.
    Link,
    Descriptor,
}

impl Subject {
    /// The file of argument 0.
    fn of(call: &Call, by: By) -> Result<Subject, Errno> {
        if let By::Descriptor = by {
            let open = open_file(call, 0)?;
            if open.flags() & O_PATH != 0 {
                return Err(Errno::BADF);
            }
            let place = open.file.place().cloned();
            let unnamed = open.file.as_any().downcast_ref::<MemoryFile>();
            let inode = match &place {
                Some(place) => Some(place.path.inode.clone()),
                None => unnamed.map(|file| file.node().clone() as Arc<dyn Inode>),
            };
            return Ok(Subject { place, inode, mode: open.file.stat()?.st_mode });
        }
        let flags = if let By::Link = by { AT_SYMLINK_NOFOLLOW } else { 0 };
        let place = named(call, AT_FDCWD, call.usize(0), flags)?.place(Errno::OPNOTSUPP)?;
        let inode = place.path.inode.clone();
        Ok(Subject { mode: inode.mode(), inode: Some(inode), place: Some(place) })
    }

    /// Its inode, once the program may do what is wanted with the attribute.
    fn allowed(&self, name: &[u8], wanted: u32) -> Result<&dyn Inode, Errno> {
        xattr::check(self.inode.as_deref(), self.mode, name, wanted)?;
        self.inode.as_deref().ok_or(Errno::OPNOTSUPP)
    }

    /// Sets an attribute, or removes it.
    fn change(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> SysResult {
        if let Some(place) = &self.place {
            place.path.check_writable()?;
        }
        if let Some(value) = value {
            xattr::check_value(name, value)?;
        }
        self.allowed(name, WRITE)?.set_xattr(name, value, flags)?;
        if let Some(place) = &self.place {
            notify::changed(place, &Changes::default());
        }
        Ok(0)
    }
}

/// The name at `addr`. ERANGE if it is empty, or too long.
fn name_at(addr: usize) -> Result<Vec<u8>, Errno> {
    let name = user::read_string(addr, XATTR_NAME_MAX as usize + 1, Errno::RANGE)?;
    if name.is_empty() { Err(Errno::RANGE) } else { Ok(name) }
}

/// Gives the program what was asked for, if the place for it is not empty. ERANGE if that is too small.
fn give(addr: usize, len: usize, found: &[u8]) -> SysResult {
    if len > 0 {
        if found.len() > len {
            return Err(Errno::RANGE);
        }
        user::write(addr, found)?;
    }
    Ok(found.len())
}

fn set(call: &Call, by: By) -> SysResult {
    let (addr, len, flags) = (call.usize(2), call.usize(3), call.u32(4));
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::INVAL);
    }
    let name = name_at(call.usize(1))?;
    if len > XATTR_SIZE_MAX as usize {
        return Err(Errno::TOOBIG);
    }
    let mut value = filled(0, len)?;
    user::read(&mut value, addr)?;
    Subject::of(call, by)?.change(&name, Some(&value), flags)
}

fn get(call: &Call, by: By) -> SysResult {
    let name = name_at(call.usize(1))?;
    let value = Subject::of(call, by)?.allowed(&name, READ)?.xattr(&name)?;
    give(call.usize(2), call.usize(3), &value)
}

fn list(call: &Call, by: By) -> SysResult {
    let subject = Subject::of(call, by)?;
    let names = match &subject.inode {
        Some(inode) => xattr::names(&**inode)?,
        None => Vec::new(),
    };
    give(call.usize(1), call.usize(2), &names)
}

fn remove(call: &Call, by: By) -> SysResult {
    let name = name_at(call.usize(1))?;
    Subject::of(call, by)?.change(&name, None, 0)
}

/// setxattr(2).
pub fn setxattr(call: &Call) -> SysResult {
    set(call, By::Path)
}
/// lsetxattr(2).
pub fn lsetxattr(call: &Call) -> SysResult {
    set(call, By::Link)
}
/// fsetxattr(2).
pub fn fsetxattr(call: &Call) -> SysResult {
    set(call, By::Descriptor)
}
/// getxattr(2).
pub fn getxattr(call: &Call) -> SysResult {
    get(call, By::Path)
}
/// lgetxattr(2).
pub fn lgetxattr(call: &Call) -> SysResult {
    get(call, By::Link)
}
/// fgetxattr(2).
pub fn fgetxattr(call: &Call) -> SysResult {
    get(call, By::Descriptor)
}
/// listxattr(2).
pub fn listxattr(call: &Call) -> SysResult {
    list(call, By::Path)
}
/// llistxattr(2).
pub fn llistxattr(call: &Call) -> SysResult {
    list(call, By::Link)
}
/// flistxattr(2).
pub fn flistxattr(call: &Call) -> SysResult {
    list(call, By::Descriptor)
}
/// removexattr(2).
pub fn removexattr(call: &Call) -> SysResult {
    remove(call, By::Path)
}
/// lremovexattr(2).
pub fn lremovexattr(call: &Call) -> SysResult {
    remove(call, By::Link)
}
/// fremovexattr(2).
pub fn fremovexattr(call: &Call) -> SysResult {
    remove(call, By::Descriptor)
}
