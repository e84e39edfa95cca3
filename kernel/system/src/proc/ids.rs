//! /proc/PID/uid_map, gid_map and setgroups (user_namespaces(7)), and timens_offsets (time_namespaces(7)).
use super::process::Subject;
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability as number;
use coracle_core::task::user_space::{Kind, OVERFLOW_ID, Range, same};
use coracle_core::time::clock::SECOND_NS;
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

/// Bytes of a clock's name that are read.
const CLOCK_NAME_MAX: usize = 9;
/// Names of the clocks in timens_offsets, and their numbers.
const CLOCKS: [(&str, &str); 2] = [("monotonic", "1"), ("boottime", "7")];

pub(super) fn time_offsets(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let space = subject.process.namespaces.lock().time_of_children.clone();
    let offsets = space.map_or([0; 2], |space| space.offsets());
    CLOCKS.iter().zip(offsets).try_for_each(|((name, _), offset)| {
        let (seconds, rest) = (offset.div_euclid(SECOND_NS as i64), offset.rem_euclid(SECOND_NS as i64));
        writeln!(text, "{name:<10} {seconds:>10} {rest:>9}")
    })
}

/// Lines of a clock, seconds and nanoseconds, read as scanf(3) reads "%9s %lld %lu": what follows in a line is not looked at. EINVAL, EPERM without CAP_SYS_TIME, and what [`TimeSpace::set_offsets`] says; EACCES for the first
/// namespace.
///
/// [`TimeSpace::set_offsets`]: coracle_core::task::time_space::TimeSpace::set_offsets
pub(super) fn set_time_offsets(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    let mut new = [None; 2];
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n').take(CLOCKS.len()) {
        let mut line = line.trim_start();
        let is_end = |(at, letter): &(usize, char)| letter.is_whitespace() || *at == CLOCK_NAME_MAX;
        let end = line.char_indices().find(is_end).map_or(line.len(), |(at, _)| at);
        let clock;
        (clock, line) = line.split_at(end);
        let which =
            CLOCKS.iter().position(|(name, id)| *name == clock || *id == clock).ok_or(Errno::INVAL)?;
        let mut number = || {
            let text = line.trim_start();
            let is_digit = |(at, letter): (usize, char)| letter.is_ascii_digit() || at == 0 && letter == '-';
            let len = text.char_indices().take_while(|&letter| is_digit(letter)).count();
            let (digits, rest) = text.split_at(len);
            line = rest;
            digits.parse::<i64>().map_err(|_| Errno::INVAL)
        };
        new[which] = Some((number()?, number()?));
    }
    let space = subject.process.namespaces.lock().time_of_children.clone();
    let owner = space.as_ref().and_then(|space| space.owner.clone());
    coracle_core::fs::access::check_capability_in(owner.as_ref(), number::SYS_TIME)?;
    space.ok_or(Errno::ACCES)?.set_offsets(new)
}
