//! /proc/PID/uid_map, gid_map and setgroups (user_namespaces(7)).
use super::process::Subject;
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability as number;
use coracle_core::task::user_space::{Kind, OVERFLOW_ID, Range, same};
use coracle_fallible::{NoMemory, Text};

pub(super) fn users_map(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    map(subject, Kind::User, text)
}
pub(super) fn groups_map(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    map(subject, Kind::Group, text)
}
pub(super) fn set_users_map(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    set_map(subject, Kind::User, text)
}
pub(super) fn set_groups_map(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    set_map(subject, Kind::Group, text)
}

/// The map, with the outer ids as the reader sees them; one in the namespace itself sees those of the parent.
fn map(subject: &Subject, kind: Kind, text: &mut Text) -> Result<(), NoMemory> {
    let space = subject.process.credentials.lock().space.clone();
    let Some(space) = space else { return writeln!(text, "{:>10} {:>10} {:>10}", 0, 0, u32::MAX) };
    let reader = coracle_core::this::with(|thread| thread.process.credentials.lock().space.clone());
    let sees = if same(reader.as_ref(), Some(&space)) { space.parent().cloned() } else { reader };
    for Range { inside, machine, count } in space.ranges(kind).map_err(|_| NoMemory)? {
        let outside = sees.as_ref().map_or(machine, |sees| sees.inside(kind, machine).unwrap_or(OVERFLOW_ID));
        writeln!(text, "{inside:>10} {outside:>10} {count:>10}")?;
    }
    Ok(())
}

/// Maps ids (user_namespaces(7), "Defining user and group ID mappings"): a process of the namespace or of its parent may, with
/// CAP_SYS_ADMIN in the namespace; any ids with CAP_SETUID or CAP_SETGID in the parent, and else its own.
fn set_map(subject: &Subject, kind: Kind, text: &[u8]) -> Result<(), Errno> {
    let space = subject.process.credentials.lock().space.clone().ok_or(Errno::PERM)?;
    let writer = coracle_core::this::with(|thread| thread.process.credentials.lock().ids());
    let own = writer.space.as_ref();
    if !same(own, Some(&space)) && !same(own, space.parent())
        || !writer.can_in(Some(&space), number::SYS_ADMIN)
    {
        return Err(Errno::PERM);
    }
    let (capability, effective) = match kind {
        Kind::User => (number::SETUID, writer.uid[1]),
        Kind::Group => (number::SETGID, writer.gid[1]),
    };
    space.map(kind, text, |ranges| match ranges {
        [Range { machine, count: 1, .. }]
            if writer.uid[1] == space.owner[0]
                && *machine == effective
                && (kind == Kind::User || space.denies_groups()) =>
        {
            true
        }
        _ => writer.can_in(space.parent(), capability),
    })
}

pub(super) fn groups(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let space = subject.process.credentials.lock().space.clone();
    text.push(if space.is_some_and(|space| space.denies_groups()) { b"deny\n" } else { b"allow\n" })
}

pub(super) fn set_groups(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let denies = match text.trim_ascii() {
        b"deny" => true,
        b"allow" => false,
        _ => return Err(Errno::INVAL),
    };
    let space = subject.process.credentials.lock().space.clone().ok_or(Errno::PERM)?;
    let writer = coracle_core::this::with(|thread| thread.process.credentials.lock().ids());
    if !writer.can_in(Some(&space), number::SYS_ADMIN) {
        return Err(Errno::PERM);
    }
    space.set_denies_groups(denies)
}
