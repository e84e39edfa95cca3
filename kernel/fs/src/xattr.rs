//! Which extended attributes a program may see and change (xattr(7)).
//!
//! The kernel does not judge by access control lists, so that programs can neither see nor set them, as on Linux with the mount option
//! `noacl`.
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access::{self, WRITE, capability, check_capability};
use coracle_core::fs::inode::FILE_CAPABILITIES;
use coracle_core::fs::inode::Inode;
use coracle_fallible::prelude::*;
use linux_raw_sys::general::{S_IFDIR, S_IFMT, S_IFREG, S_ISVTX};

/// The namespaces of xattr(7) that files here have.
const USER: &[u8] = b"user.";
const TRUSTED: &[u8] = b"trusted.";
const SECURITY: &[u8] = b"security.";
/// Bytes of [`FILE_CAPABILITIES`] by the versions that can be set, which its first word says.
const CAPABILITY_FORMS: [(u8, usize); 2] = [(2, 20), (3, 24)];

/// A file that has no attributes of a namespace: what a program is told that asks for one, and that sets one.
fn refused(wanted: u32) -> Errno {
    if wanted == WRITE { Errno::PERM } else { Errno::NODATA }
}

/// Whether the program may get ([`access::READ`]) or set ([`WRITE`]) an attribute of a file of that `mode`. `inode`: `None` for what is not in a
/// file system.
///
/// # Errors
/// EPERM, EACCES, ENODATA for what it may not know of; EOPNOTSUPP for other namespaces; EINVAL for a name that ends with its namespace.
pub fn check(inode: Option<&dyn Inode>, mode: u32, name: &[u8], wanted: u32) -> Result<(), Errno> {
    let rest = if let Some(rest) = name.strip_prefix(USER) {
        let kind = mode & S_IFMT;
        if kind != S_IFREG && kind != S_IFDIR {
            return Err(refused(wanted));
        }
        if let Some(inode) = inode {
            if wanted == WRITE && kind == S_IFDIR && mode & S_ISVTX != 0 {
                access::check_owner(inode)?;
            }
            access::check(inode, wanted)?;
        }
        rest
    } else if let Some(rest) = name.strip_prefix(TRUSTED) {
        check_capability(capability::SYS_ADMIN).map_err(|_| refused(wanted))?;
        rest
    } else if let Some(rest) = name.strip_prefix(SECURITY) {
        if wanted == WRITE {
            let is_capabilities = name == FILE_CAPABILITIES;
            check_capability(if is_capabilities { capability::SETFCAP } else { capability::SYS_ADMIN })?;
        }
        rest
    } else {
        if let Some(inode) = inode
            && !name.starts_with(b"system.")
        {
            access::check(inode, wanted)?;
        }
        return Err(Errno::OPNOTSUPP);
    };
    if inode.is_none() {
        return Err(Errno::OPNOTSUPP);
    }
    if rest.is_empty() { Err(Errno::INVAL) } else { Ok(()) }
}

/// EINVAL for a value that an attribute can't have: `security.capability` has a form (linux/capability.h, `struct vfs_cap_data`).
pub fn check_value(name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let version = value.get(3).copied().unwrap_or_default();
    let is_good = name != FILE_CAPABILITIES || CAPABILITY_FORMS.contains(&(version, value.len()));
    if is_good { Ok(()) } else { Err(Errno::INVAL) }
}

/// The names that the program may see, each with a zero behind it. ENOMEM, EIO.
pub fn names(inode: &dyn Inode) -> Result<Vec<u8>, Errno> {
    let all = inode.xattr_names()?;
    let sees_trusted = check_capability(capability::SYS_ADMIN).is_ok();
    let mut seen = Vec::new();
    for name in all.split_inclusive(|&byte| byte == 0) {
        let is_seen = [USER, SECURITY].iter().any(|space| name.starts_with(space))
            || sees_trusted && name.starts_with(TRUSTED);
        if is_seen {
            seen.try_extend_from_slice(name)?;
        }
    }
    Ok(seen)
}
