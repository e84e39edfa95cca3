//! User and group ids, capabilities (credentials(7), capabilities(7)).
use super::call::Call;
use alloc::vec::Vec;
use coracle_capabilities::NotPermitted;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::mm::user;
use coracle_core::task::process::{Credentials, process_by_pid_or_self};
use coracle_core::task::user_space::Kind;
use coracle_core::task::user_space::Kind::{Group, User};
use coracle_fallible::prelude::*;
use linux_raw_sys::prctl as pr;

/// Places in [`Credentials::uid`] and `gid`.
const REAL: usize = 0;
const EFFECTIVE: usize = 1;
const SAVED: usize = 2;
const FILE: usize = 3;
/// "Leave as it is".
pub const KEEP: u32 = u32::MAX;
/// NGROUPS_MAX.
const MAX_GROUPS: usize = 65_536;
/// _LINUX_CAPABILITY_VERSION_1, _2 and _3.
const CAPABILITY_VERSIONS: [(u32, usize); 3] = [(0x1998_0330, 1), (0x2007_1026, 2), (0x2008_0522, 2)];

fn of(kind: Kind, credentials: &mut Credentials) -> &mut [u32; 4] {
    if kind == User { &mut credentials.uid } else { &mut credentials.gid }
}

/// Whether any id may be chosen.
fn may_choose(kind: Kind, credentials: &Credentials) -> bool {
    credentials.capabilities.can(if kind == User { capability::SETUID } else { capability::SETGID })
}

fn get(call: &Call, kind: Kind, which: usize) -> SysResult {
    let mut credentials = call.thread().process.credentials.lock();
    let id = of(kind, &mut credentials)[which];
    Ok(credentials.shown(kind, id) as usize)
}

/// The machine's id of what a program passes as an id. EINVAL if there is none.
pub fn machine_id(call: &Call, kind: Kind, id: u32) -> Result<u32, Errno> {
    if id == KEEP {
        return Ok(KEEP);
    }
    call.thread().process.credentials.lock().machine(kind, id).ok_or(Errno::INVAL)
}

fn argument(call: &Call, kind: Kind, place: usize) -> Result<u32, Errno> {
    machine_id(call, kind, call.u32(place))
}

/// Changes real, effective and saved ids; an unprivileged process may choose among the ids in the places `allowed` of each. EPERM.
fn set(call: &Call, kind: Kind, new: [u32; 3], allowed: [&[usize]; 3]) -> SysResult {
    let process = &call.thread().process;
    let mut credentials = process.credentials.lock();
    let old = *of(kind, &mut credentials);
    let may = |(id, places): (&u32, &&[usize])| *id == KEEP || places.iter().any(|&place| old[place] == *id);
    if !may_choose(kind, &credentials) && !new.iter().zip(&allowed).all(may) {
        return Err(Errno::PERM);
    }
    let places = of(kind, &mut credentials);
    for (place, id) in places.iter_mut().zip(new) {
        if id != KEEP {
            *place = id;
        }
    }
    places[FILE] = places[EFFECTIVE];
    let new = *places;
    if kind == User {
        // Rules about the user 0 are about that of the namespace.
        let [old, new] = [old, new].map(|ids| [ids[0], ids[1], ids[2]].map(|id| credentials.shown(User, id)));
        credentials.capabilities.user_ids_changed(old, new);
    }
    drop(credentials);
    if new[EFFECTIVE..] != old[EFFECTIVE..] {
        process.rights_changed();
    }
    Ok(0)
}

/// setuid(2), setgid(2): all three with the capability, else the effective one.
fn set_one(call: &Call, kind: Kind) -> SysResult {
    let id = argument(call, kind, 0)?;
    if id == KEEP {
        return Err(Errno::INVAL);
    }
    let all = may_choose(kind, &call.thread().process.credentials.lock());
    set(call, kind, if all { [id; 3] } else { [KEEP, id, KEEP] }, [&[], &[REAL, SAVED], &[]])
}

/// setreuid(2), setregid(2): the saved id follows if the real one is set, or the effective one to something else than it.
fn set_two(call: &Call, kind: Kind) -> SysResult {
    let (real, effective) = (argument(call, kind, 0)?, argument(call, kind, 1)?);
    let old = *of(kind, &mut call.thread().process.credentials.lock());
    let follows = real != KEEP || (effective != KEEP && effective != old[REAL]);
    let saved = if follows { if effective == KEEP { old[EFFECTIVE] } else { effective } } else { KEEP };
    let any: &[usize] = &[REAL, EFFECTIVE, SAVED];
    set(call, kind, [real, effective, saved], [&[REAL, EFFECTIVE], any, any])
}

fn set_three(call: &Call, kind: Kind) -> SysResult {
    let new = [argument(call, kind, 0)?, argument(call, kind, 1)?, argument(call, kind, 2)?];
    set(call, kind, new, [&[REAL, EFFECTIVE, SAVED]; 3])
}

fn get_three(call: &Call, kind: Kind) -> SysResult {
    let have = {
        let mut credentials = call.thread().process.credentials.lock();
        let ids = *of(kind, &mut credentials);
        ids.map(|id| credentials.shown(kind, id))
    };
    for (i, id) in have[..=SAVED].iter().enumerate() {
        user::write_u32(call.usize(i), *id)?;
    }
    Ok(0)
}

fn set_file(call: &Call, kind: Kind) -> SysResult {
    let process = &call.thread().process;
    let mut credentials = process.credentials.lock();
    let may_choose = may_choose(kind, &credentials);
    let asked = call.u32(0);
    let new = if asked == KEEP { KEEP } else { credentials.machine(kind, asked).unwrap_or(KEEP) };
    let places = of(kind, &mut credentials);
    let old = places[FILE];
    let is_set = new != KEEP && (may_choose || places.contains(&new));
    if is_set {
        places[FILE] = new;
    }
    let [shown_old, shown_new] = [old, new].map(|id| credentials.shown(kind, id));
    if is_set && kind == User {
        credentials.capabilities.file_user_changed(shown_old, shown_new);
    }
    drop(credentials);
    if is_set && new != old {
        process.rights_changed();
    }
    Ok(shown_old as usize)
}

/// getuid(2).
pub fn getuid(call: &Call) -> SysResult {
    get(call, User, REAL)
}
/// geteuid(2).
pub fn geteuid(call: &Call) -> SysResult {
    get(call, User, EFFECTIVE)
}
/// getgid(2).
pub fn getgid(call: &Call) -> SysResult {
    get(call, Group, REAL)
}
/// getegid(2).
pub fn getegid(call: &Call) -> SysResult {
    get(call, Group, EFFECTIVE)
}
/// setuid(2).
pub fn setuid(call: &Call) -> SysResult {
    set_one(call, User)
}
/// setgid(2).
pub fn setgid(call: &Call) -> SysResult {
    set_one(call, Group)
}
/// setreuid(2).
pub fn setreuid(call: &Call) -> SysResult {
    set_two(call, User)
}
/// setregid(2).
pub fn setregid(call: &Call) -> SysResult {
    set_two(call, Group)
}
/// setresuid(2).
pub fn setresuid(call: &Call) -> SysResult {
    set_three(call, User)
}
/// setresgid(2).
pub fn setresgid(call: &Call) -> SysResult {
    set_three(call, Group)
}
/// getresuid(2).
pub fn getresuid(call: &Call) -> SysResult {
    get_three(call, User)
}
/// getresgid(2).
pub fn getresgid(call: &Call) -> SysResult {
    get_three(call, Group)
}
/// setfsuid(2).
pub fn setfsuid(call: &Call) -> SysResult {
    set_file(call, User)
}
/// setfsgid(2).
pub fn setfsgid(call: &Call) -> SysResult {
    set_file(call, Group)
}

/// getgroups(2).
pub fn getgroups(call: &Call) -> SysResult {
    let mut groups = call.thread().process.credentials.lock().groups.try_to_vec()?;
    let room = call.i32(0);
    if room == 0 {
        return Ok(groups.len());
    }
    if room < 0 || (room as usize) < groups.len() {
        return Err(Errno::INVAL);
    }
    let credentials = call.thread().process.credentials.lock().ids();
    groups.iter_mut().for_each(|group| *group = credentials.shown(Group, *group));
    let words = groups.iter().map(|group| group.to_le_bytes()).try_collect_vec()?;
    user::write(call.usize(1), words.as_flattened())?;
    Ok(groups.len())
}

/// setgroups(2).
pub fn setgroups(call: &Call) -> SysResult {
    {
        let credentials = call.thread().process.credentials.lock();
        let may = credentials.space.as_ref().is_none_or(|space| space.may_set_groups());
        if !may || !credentials.capabilities.can(capability::SETGID) {
            return Err(Errno::PERM);
        }
    }
    let count = call.usize(0);
    if count > MAX_GROUPS {
        return Err(Errno::INVAL);
    }
    let groups: Vec<u32> = (0..count)
        .map(|i| machine_id(call, Group, user::read_u32(call.usize(1) + i * 4)?))
        .try_collect_ok()?;
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
    let sets = target.credentials.lock().capabilities;
    for word in 0..words {
        for (i, set) in [sets.effective, sets.permitted, sets.inheritable].iter().enumerate() {
            user::write_u32(call.usize(1) + word * 12 + i * 4, (set >> (word * 32)) as u32)?;
        }
    }
    Ok(0)
}

/// capset(2): of the caller.
pub fn capset(call: &Call) -> SysResult {
    let (words, pid) = capability_header(call)?;
    if pid != 0 && pid != call.thread().own_tid() {
        return Err(Errno::PERM);
    }
    let mut new = [0u64; 3];
    for word in 0..words {
        for (i, set) in new.iter_mut().enumerate() {
            *set |= u64::from(user::read_u32(call.usize(1) + word * 12 + i * 4)?) << (word * 32);
        }
    }
    let [effective, permitted, inheritable] = new;
    call.thread().process.credentials.lock().capabilities.set(effective, permitted, inheritable)?;
    Ok(0)
}

/// The calls of prctl(2) about capabilities; none for others.
pub fn prctl(call: &Call) -> Option<SysResult> {
    let rest_is_zero = |from: usize| (from..5).all(|n| call.raw(n) == 0);
    let number = |n: usize| u32::try_from(call.raw(n)).ok().filter(|&number| number <= capability::LAST);
    let sets = &mut call.thread().process.credentials.lock().capabilities;
    let done = |outcome: Result<(), NotPermitted>| outcome.map(|()| 0).map_err(Errno::from);
    Some(match call.u32(0) {
        pr::PR_SET_KEEPCAPS if call.raw(1) > 1 => Err(Errno::INVAL),
        pr::PR_SET_KEEPCAPS => done(sets.keep(call.raw(1) == 1)),
        pr::PR_GET_KEEPCAPS => Ok(usize::from(sets.keeps())),
        pr::PR_SET_SECUREBITS => done(sets.set_secure_bits(call.u32(1))),
        pr::PR_GET_SECUREBITS => Ok(sets.secure.bits() as usize),
        pr::PR_CAPBSET_READ => number(1).map(|n| (sets.bounding >> n & 1) as usize).ok_or(Errno::INVAL),
        pr::PR_CAPBSET_DROP if !sets.can(capability::SETPCAP) => Err(Errno::PERM),
        pr::PR_CAPBSET_DROP => {
            number(1).ok_or(Errno::INVAL).and_then(|number| done(sets.drop_from_bounding(number)))
        }
        pr::PR_CAP_AMBIENT => match (call.u32(1), number(2)) {
            (pr::PR_CAP_AMBIENT_CLEAR_ALL, _) if rest_is_zero(2) => {
                sets.ambient = 0;
                Ok(0)
            }
            (_, Some(number)) if rest_is_zero(3) => match call.u32(1) {
                pr::PR_CAP_AMBIENT_IS_SET => Ok((sets.ambient >> number & 1) as usize),
                pr::PR_CAP_AMBIENT_RAISE => done(sets.raise_ambient(number)),
                pr::PR_CAP_AMBIENT_LOWER => {
                    sets.ambient &= !(1 << number);
                    Ok(0)
                }
                _ => Err(Errno::INVAL),
            },
            _ => Err(Errno::INVAL),
        },
        _ => return None,
    })
}
