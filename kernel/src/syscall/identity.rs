//! User and group ids, capabilities (credentials(7), capabilities(7)). The program is root unless it gives that up.
use super::call::Call;
use crate::errno::{Errno, SysResult};
use crate::fs::access::capability;
use crate::mm::user;
use crate::task::process::{ALL_CAPABILITIES, Credentials, process_by_pid_or_self};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;

/// Places in [`Credentials::uid`] and `gid`.
const REAL: usize = 0;
const EFFECTIVE: usize = 1;
const SAVED: usize = 2;
const FILE: usize = 3;
/// "Leave as it is".
const KEEP: u32 = u32::MAX;
/// Capabilities that go and come with the file-system user id (capabilities(7), of those that mean something here).
const FILE_CAPABILITIES: u64 = 1 << capability::CHOWN
    | 1 << capability::DAC_OVERRIDE
    | 1 << capability::DAC_READ_SEARCH
    | 1 << capability::FOWNER
    | 1 << capability::FSETID
    | 1 << capability::MKNOD;
/// NGROUPS_MAX.
const MAX_GROUPS: usize = 65_536;
/// _LINUX_CAPABILITY_VERSION_1, _2 and _3.
const CAPABILITY_VERSIONS: [(u32, usize); 3] = [(0x1998_0330, 1), (0x2007_1026, 2), (0x2008_0522, 2)];

type Ids = fn(&mut Credentials) -> &mut [u32; 4];

fn uids(credentials: &mut Credentials) -> &mut [u32; 4] {
    &mut credentials.uid
}

fn gids(credentials: &mut Credentials) -> &mut [u32; 4] {
    &mut credentials.gid
}

fn get(call: &Call, ids: Ids, which: usize) -> SysResult {
    Ok(ids(&mut call.thread().process.credentials.lock())[which] as usize)
}

/// Changes ids by the rules of setresuid(2): root may choose anything, others among what they have.
fn set(call: &Call, ids: Ids, new: [u32; 3]) -> SysResult {
    let mut credentials = call.thread().process.credentials.lock();
    let root = credentials.uid[EFFECTIVE] == 0;
    let old = *ids(&mut credentials);
    if !root && new.iter().any(|id| *id != KEEP && !old[..FILE].contains(id)) {
        return Err(Errno::PERM);
    }
    let places = ids(&mut credentials);
    for (place, id) in places.iter_mut().zip(new) {
        if id != KEEP {
            *place = id;
        }
    }
    places[FILE] = places[EFFECTIVE];
    if credentials.uid[..FILE].iter().all(|id| *id != 0) {
        credentials.capabilities = [0; 3];
    } else if credentials.uid[EFFECTIVE] != 0 {
        credentials.capabilities[0] = 0;
    } else if !root {
        credentials.capabilities[0] = credentials.capabilities[1];
    }
    Ok(0)
}

fn set_one(call: &Call, ids: Ids) -> SysResult {
    let id = call.u32(0);
    if id == KEEP {
        return Err(Errno::INVAL);
    }
    let root = call.thread().process.credentials.lock().uid[EFFECTIVE] == 0;
    // setuid(2): root changes all three, others the effective one.
    set(call, ids, if root { [id; 3] } else { [KEEP, id, KEEP] })
}

fn set_two(call: &Call, ids: Ids) -> SysResult {
    let (real, effective) = (call.u32(0), call.u32(1));
    let old = *ids(&mut call.thread().process.credentials.lock());
    // setreuid(2): the saved id follows if the real one is set, or the effective one to something else than it.
    let follows = real != KEEP || (effective != KEEP && effective != old[REAL]);
    let saved = if follows { if effective == KEEP { old[EFFECTIVE] } else { effective } } else { KEEP };
    set(call, ids, [real, effective, saved])
}

fn get_three(call: &Call, ids: Ids) -> SysResult {
    let have = *ids(&mut call.thread().process.credentials.lock());
    for (i, id) in have[..=SAVED].iter().enumerate() {
        user::write_u32(call.usize(i), *id)?;
    }
    Ok(0)
}

fn set_file(call: &Call, ids: Ids) -> SysResult {
    let mut credentials = call.thread().process.credentials.lock();
    let root = credentials.uid[EFFECTIVE] == 0;
    let user_before = credentials.uid[FILE];
    let places = ids(&mut credentials);
    let old = places[FILE];
    let new = call.u32(0);
    if new != KEEP && (root || places.contains(&new)) {
        places[FILE] = new;
    }
    // setfsuid(2) takes what concerns files along.
    let user = credentials.uid[FILE];
    let [effective, permitted, _] = &mut credentials.capabilities;
    if user_before == 0 && user != 0 {
        *effective &= !FILE_CAPABILITIES;
    } else if user_before != 0 && user == 0 {
        *effective |= *permitted & FILE_CAPABILITIES;
    }
    Ok(old as usize)
}

/// getuid(2).
pub fn getuid(call: &Call) -> SysResult {
    get(call, uids, REAL)
}
/// geteuid(2).
pub fn geteuid(call: &Call) -> SysResult {
    get(call, uids, EFFECTIVE)
}
/// getgid(2).
pub fn getgid(call: &Call) -> SysResult {
    get(call, gids, REAL)
}
/// getegid(2).
pub fn getegid(call: &Call) -> SysResult {
    get(call, gids, EFFECTIVE)
}
/// setuid(2).
pub fn setuid(call: &Call) -> SysResult {
    set_one(call, uids)
}
/// setgid(2).
pub fn setgid(call: &Call) -> SysResult {
    set_one(call, gids)
}
/// setreuid(2).
pub fn setreuid(call: &Call) -> SysResult {
    set_two(call, uids)
}
/// setregid(2).
pub fn setregid(call: &Call) -> SysResult {
    set_two(call, gids)
}
/// setresuid(2).
pub fn setresuid(call: &Call) -> SysResult {
    set(call, uids, [call.u32(0), call.u32(1), call.u32(2)])
}
/// setresgid(2).
pub fn setresgid(call: &Call) -> SysResult {
    set(call, gids, [call.u32(0), call.u32(1), call.u32(2)])
}
/// getresuid(2).
pub fn getresuid(call: &Call) -> SysResult {
    get_three(call, uids)
}
/// getresgid(2).
pub fn getresgid(call: &Call) -> SysResult {
    get_three(call, gids)
}
/// setfsuid(2).
pub fn setfsuid(call: &Call) -> SysResult {
    set_file(call, uids)
}
/// setfsgid(2).
pub fn setfsgid(call: &Call) -> SysResult {
    set_file(call, gids)
}

/// getgroups(2).
pub fn getgroups(call: &Call) -> SysResult {
    let groups = call.thread().process.credentials.lock().groups.try_to_vec()?;
    let room = call.i32(0);
    if room == 0 {
        return Ok(groups.len());
    }
    if room < 0 || (room as usize) < groups.len() {
        return Err(Errno::INVAL);
    }
    let words = groups.iter().map(|group| group.to_le_bytes()).try_collect_vec()?;
    user::write(call.usize(1), words.as_flattened())?;
    Ok(groups.len())
}

/// setgroups(2).
pub fn setgroups(call: &Call) -> SysResult {
    let count = call.usize(0);
    if count > MAX_GROUPS {
        return Err(Errno::INVAL);
    }
    if call.thread().process.credentials.lock().uid[EFFECTIVE] != 0 {
        return Err(Errno::PERM);
    }
    let groups: Vec<u32> = (0..count).map(|i| user::read_u32(call.usize(1) + i * 4)).try_collect_ok()?;
    call.thread().process.credentials.lock().groups = groups;
    Ok(0)
}

/// Reads the header of capget(2); gives how many words of 32 capabilities follow. Writes the version we prefer, and
/// gives EINVAL, for one that isn't known.
fn capability_header(call: &Call) -> Result<(usize, i32), Errno> {
    let version = user::read_u32(call.usize(0))?;
    let pid = user::read_u32(call.usize(0) + 4)? as i32;
    match CAPABILITY_VERSIONS.iter().find(|known| known.0 == version) {
        Some(&(_, words)) => Ok((words, pid)),
        None => {
            user::write_u32(call.usize(0), CAPABILITY_VERSIONS[2].0)?;
            Err(Errno::INVAL)
        }
    }
}

/// capget(2).
pub fn capget(call: &Call) -> SysResult {
    let (words, pid) = match capability_header(call) {
        // A null pointer for the data only asks for the version.
        Err(Errno::INVAL) if call.usize(1) == 0 => return Ok(0),
        other => other?,
    };
    if call.usize(1) == 0 {
        return Ok(0);
    }
    let target = process_by_pid_or_self(call.thread(), pid)?;
    let capabilities = target.credentials.lock().capabilities;
    for word in 0..words {
        for (i, set) in capabilities.iter().enumerate() {
            user::write_u32(call.usize(1) + word * 12 + i * 4, (set >> (word * 32)) as u32)?;
        }
    }
    Ok(0)
}

/// capset(2): sets may only shrink.
pub fn capset(call: &Call) -> SysResult {
    let (words, pid) = capability_header(call)?;
    if pid != 0 && pid != call.thread().process.pid {
        return Err(Errno::PERM);
    }
    let mut new = [0u64; 3];
    for word in 0..words {
        for (i, set) in new.iter_mut().enumerate() {
            *set |= u64::from(user::read_u32(call.usize(1) + word * 12 + i * 4)?) << (word * 32);
        }
    }
    let mut credentials = call.thread().process.credentials.lock();
    let permitted = credentials.capabilities[1];
    if new[1] & ALL_CAPABILITIES & !permitted != 0 || new[0] & !new[1] & ALL_CAPABILITIES != 0 {
        return Err(Errno::PERM);
    }
    credentials.capabilities = new.map(|set| set & ALL_CAPABILITIES);
    Ok(0)
}
