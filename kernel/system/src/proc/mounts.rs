//! /proc/PID/mounts and mountinfo.
use super::process::Subject;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::fs::mount::{self, Mount, Place};
use coracle_core::fs::mount_space::mounts_of;
use coracle_core::fs::stat::BLOCK_SIZE;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text};

fn seen_by(subject: &Subject) -> Result<Vec<Arc<Mount>>, NoMemory> {
    let space = subject.process.namespaces.lock().mounts.clone();
    mounts_of(space.as_deref())
}

pub(super) fn mounts(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    for mount in seen_by(subject)? {
        escaped(text, &mount.source)?;
        text.push(b" ")?;
        mount_point(text, &mount)?;
        write!(text, " {} {}{}", mount.kind, mount.access(), mount.options())?;
        mount.root.show_options(text)?;
        text.push(b" 0 0\n")?;
    }
    Ok(())
}

/// /proc/PID/mountstats, of file systems that have none of their own (proc(5)).
pub(super) fn mountstats(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    for mount in seen_by(subject)? {
        text.push(b"device ")?;
        escaped(text, &mount.source)?;
        text.push(b" mounted on ")?;
        mount_point(text, &mount)?;
        writeln!(text, " with fstype {}", mount.kind)?;
    }
    Ok(())
}

pub(super) fn mountinfo(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    for mount in seen_by(subject)? {
        let parent = mount.at().map_or(0, |at| at.path.mount.id);
        let (major, minor) = coracle_core::fs::stat::split_device(mount.root.identity().0);
        write!(text, "{} {parent} {major}:{minor} ", mount.id)?;
        within(&mount, text)?;
        text.push(b" ")?;
        mount_point(text, &mount)?;
        write!(text, " {}{} - {} ", mount.access(), mount.options(), mount.kind)?;
        escaped(text, &mount.source)?;
        write!(text, " {}", if mount.file_system.is_read_only() { "ro" } else { "rw" })?;
        mount.root.show_options(text)?;
        text.push(b"\n")?;
    }
    Ok(())
}

/// /proc/fs/volumes, which Linux does not have: of each file system on a disk its path, its bytes, those that are free for programs, the
/// files that it can have, and those that can still be made.
pub(super) fn volumes(text: &mut Text) -> Result<(), NoMemory> {
    for mount in mount::all()?.iter().filter(|mount| mount.kind == "ext4") {
        let usage = mount.root.usage();
        mount_point(text, mount)?;
        let (size, free) = (usage.blocks * BLOCK_SIZE, usage.free * BLOCK_SIZE);
        writeln!(text, " {size} {free} {} {}", usage.files, usage.files_free)?;
    }
    Ok(())
}

/// The path of a mount's root within its file system. That of a file, which has no name of its own, is not known.
fn within(mount: &Mount, text: &mut Text) -> Result<(), NoMemory> {
    let mut names = Vec::new();
    let mut at = mount.root.clone();
    while let Some(parent) = at.parent() {
        let Some(name) = at.name() else { break };
        names.try_push(name)?;
        at = parent;
    }
    if names.is_empty() {
        return text.push(b"/");
    }
    let mut path = Text::new();
    for name in names.iter().rev() {
        path.push(b"/")?;
        path.push(name)?;
    }
    escaped(text, path.as_bytes())
}

fn mount_point(text: &mut Text, mount: &Mount) -> Result<(), NoMemory> {
    let mut path = Text::new();
    match mount.at() {
        Some(Place { name: Some((directory, name)), .. }) => {
            directory.write_or_deleted(&mut path)?;
            path.push(b"/")?;
            path.push(&name)?;
        }
        Some(Place { path: at, name: None }) => at.write_or_deleted(&mut path)?,
        None => path.push(b"/")?,
    }
    escaped(text, path.as_bytes())
}

/// Blanks and backslashes are written as octal numbers (proc(5), as getmntent(3) reads them).
fn escaped(text: &mut Text, bytes: &[u8]) -> Result<(), NoMemory> {
    for part in bytes.chunk_by(|&a, &b| !is_special(a) && !is_special(b)) {
        match part {
            &[byte] if is_special(byte) => write!(text, "\\{byte:03o}")?,
            plain => text.push(plain)?,
        }
    }
    Ok(())
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\\')
}
