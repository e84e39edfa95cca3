//! Keys and keyrings: add_key(2), request_key(2) and keyctl(2).
use super::call::Call;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::task::keys::{self, Found, Key, Kind, USUAL, right};
use coracle_core::task::process::Process;
use coracle_core::task::user_space;
use coracle_fallible::filled;

/// Longest name of a type, and longest description, with their zeros.
const TYPE_MAX: usize = 32;
const DESCRIPTION_MAX: usize = 4096;
/// Most bytes of a payload.
const PAYLOAD_MAX: usize = (1 << 20) - 1;
/// Operations (linux/keyctl.h).
const GET_KEYRING_ID: u32 = 0;
const JOIN_SESSION_KEYRING: u32 = 1;
const UPDATE: u32 = 2;
const REVOKE: u32 = 3;
const CHOWN: u32 = 4;
const SETPERM: u32 = 5;
const DESCRIBE: u32 = 6;
const CLEAR: u32 = 7;
const LINK: u32 = 8;
const UNLINK: u32 = 9;
const SEARCH: u32 = 10;
const READ: u32 = 11;
const SET_TIMEOUT: u32 = 15;
const INVALIDATE: u32 = 21;

fn description(addr: usize) -> Result<Vec<u8>, Errno> {
    user::read_string(addr, DESCRIPTION_MAX, Errno::INVAL)
}

fn kind(addr: usize) -> Result<Vec<u8>, Errno> {
    let name = user::read_string(addr, TYPE_MAX, Errno::INVAL)?;
    if name.first() == Some(&b'.') { Err(Errno::PERM) } else { Ok(name) }
}

fn payload(addr: usize, len: usize) -> Result<Vec<u8>, Errno> {
    if len > PAYLOAD_MAX {
        return Err(Errno::INVAL);
    }
    let mut bytes = filled(0, len)?;
    user::read(&mut bytes, addr)?;
    Ok(bytes)
}

/// add_key(2).
pub fn add_key(call: &Call) -> SysResult {
    let name = kind(call.usize(0))?;
    let description = match call.usize(1) {
        0 => Vec::new(),
        addr => description(addr)?,
    };
    if name == b"keyring" && description.first() == Some(&b'.') {
        return Err(Errno::PERM);
    }
    let payload = payload(call.usize(2), call.usize(3))?;
    let process = &call.thread().process;
    let ring = keys::find(process, call.i32(4), true, right::WRITE)?;
    let kind = Kind::named(&name)?;
    if ring.key.kind != Kind::Keyring {
        return Err(Errno::NOTDIR);
    }
    // That of a service goes before the rest of such a description.
    let is_bare = kind == Kind::Logon && !description.iter().skip(1).any(|byte| *byte == b':');
    if description.is_empty() || is_bare {
        return Err(Errno::INVAL);
    }
    kind.check(payload.len())?;
    if let Some(key) = ring.key.to_update(kind, &description) {
        let found = Found { key, is_possessed: ring.is_possessed };
        found.need(right::WRITE)?;
        found.key.update(payload)?;
        return Ok(found.key.id as usize);
    }
    let rights = if kind == Kind::Logon { USUAL & !(right::READ << 24) } else { USUAL };
    let key = Key::new(kind, &description, payload, rights)?;
    ring.key.link(&key)?;
    Ok(key.id as usize)
}

/// request_key(2): a key that there is. Nothing makes one that there is not.
pub fn request_key(call: &Call) -> SysResult {
    let (name, description) = (kind(call.usize(0))?, description(call.usize(1))?);
    if call.usize(2) != 0 {
        self::description(call.usize(2))?;
    }
    let process = &call.thread().process;
    let ring = match call.i32(3) {
        0 => None,
        id => Some(keys::find(process, id, true, right::WRITE)?),
    };
    let kind = Kind::named(&name).map_err(|_| Errno::NOKEY)?;
    let found = keys::request(process, kind, &description)?;
    link_to(ring, &found)?;
    Ok(found.key.id as usize)
}

/// Links what was found to the keyring that was named for it.
fn link_to(ring: Option<Found>, found: &Found) -> Result<(), Errno> {
    match ring {
        Some(ring) => found.need(right::LINK).and_then(|()| ring.key.link(&found.key)),
        None => Ok(()),
    }
}

/// Copies as much as there is room for; returns the length of all.
fn give(call: &Call, bytes: &[u8], part: bool) -> SysResult {
    let (to, room) = (call.usize(2), call.usize(3));
    if to != 0 && (room >= bytes.len() || part) {
        user::write(to, &bytes[..bytes.len().min(room)])?;
    }
    Ok(bytes.len())
}

/// keyctl(2).
pub fn keyctl(call: &Call) -> SysResult {
    let (process, id) = (&call.thread().process, call.i32(1));
    let find = |rights: u32| keys::find(process, id, false, rights);
    match call.u32(0) {
        GET_KEYRING_ID => {
            let found = keys::find(process, id, call.i32(2) != 0, right::SEARCH)?;
            return Ok(found.key.id as usize);
        }
        JOIN_SESSION_KEYRING => {
            let name = match call.usize(1) {
                0 => None,
                addr => Some(description(addr)?),
            };
            if name.as_ref().is_some_and(|name| name.first() == Some(&b'.')) {
                return Err(Errno::PERM);
            }
            return Ok(keys::join_session(process, name.as_deref())? as usize);
        }
        UPDATE => {
            let payload = payload(call.usize(2), call.usize(3))?;
            let found = find(right::WRITE)?;
            if found.key.kind != Kind::Keyring {
                found.key.kind.check(payload.len())?;
            }
            found.key.update(payload)?;
        }
        REVOKE => find(right::WRITE | right::SETATTR)?.key.revoke(),
        CHOWN => chown(call, process)?,
        SETPERM => find(right::SETATTR)?.key.set_rights(call.u32(2))?,
        DESCRIBE => {
            let mut text = find(right::VIEW)?.key.describe()?;
            text.push(&[0])?;
            return give(call, text.as_bytes(), false);
        }
        CLEAR => find(right::WRITE)?.key.clear()?,
        LINK => {
            let ring = keys::find(process, call.i32(2), true, right::WRITE)?;
            ring.key.link(&keys::find(process, id, true, right::LINK)?.key)?;
        }
        UNLINK => {
            let ring = keys::find(process, call.i32(2), false, right::WRITE)?;
            ring.key.unlink(&find(0)?.key)?;
        }
        SEARCH => {
            let (name, description) = (kind(call.usize(2))?, description(call.usize(3))?);
            let top = find(right::SEARCH)?;
            let ring = match call.i32(4) {
                0 => None,
                id => Some(keys::find(process, id, true, right::WRITE)?),
            };
            let kind = Kind::named(&name).map_err(|_| Errno::NOKEY)?;
            if top.key.kind != Kind::Keyring {
                return Err(Errno::NOTDIR);
            }
            let found = top.search(kind, &description)?;
            link_to(ring, &found)?;
            return Ok(found.key.id as usize);
        }
        READ => {
            let found = find(0)?;
            // What a keyring of the process leads to may be read even so.
            if let Err(error) = found.need(right::READ)
                && !(found.is_possessed && found.need(right::SEARCH).is_ok())
            {
                return Err(error);
            }
            // Of a keyring, as many numbers as there is room for.
            let is_ring = found.key.kind == Kind::Keyring;
            return give(call, &found.key.read()?, is_ring);
        }
        SET_TIMEOUT => find(right::SETATTR)?.key.set_timeout(call.u32(2)),
        INVALIDATE => find(right::SEARCH)?.key.invalidate(),
        _ => return Err(Errno::OPNOTSUPP),
    }
    Ok(0)
}

/// KEYCTL_CHOWN; -1 leaves an id as it is.
fn chown(call: &Call, process: &Process) -> Result<(), Errno> {
    let mapped = |kind, id: u32| match id {
        u32::MAX => Ok(None),
        id => process.credentials.lock().machine(kind, id).map(Some).ok_or(Errno::INVAL),
    };
    let uid = mapped(user_space::Kind::User, call.u32(2))?;
    let gid = mapped(user_space::Kind::Group, call.u32(3))?;
    keys::find(process, call.i32(1), true, right::SETATTR)?.key.give(uid, gid)
}
