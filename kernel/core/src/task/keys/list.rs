//! /proc/keys and /proc/key-users.
use super::{Found, KEYS, Key, Kind, QUOTA, QUOTAS, ROOT_QUOTA, possesses, right};
use crate::task::user_space::{self, OVERFLOW_ID};
use crate::time::clock;
use alloc::sync::{Arc, Weak};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::sync::atomic::Ordering::Relaxed;
use core::fmt::{self, Display, Formatter, write};

/// /proc/keys (keyrings(7)): those that the reader may view.
pub fn list(text: &mut Text) -> Result<(), NoMemory> {
    let ids = KEYS.lock().iter().map(|(id, _)| *id).try_collect_vec()?;
    for id in ids {
        let Some(key) = KEYS.lock().get(&id).and_then(Weak::upgrade) else { continue };
        let is_possessed = crate::this::with(|me| possesses(&me.process, &key)).unwrap_or(false);
        if (Found { key: key.clone(), is_possessed }).need(right::VIEW).is_ok() {
            key.list(text)?;
        }
    }
    Ok(())
}

/// /proc/key-users (keyrings(7)).
pub fn list_users(text: &mut Text) -> Result<(), NoMemory> {
    let users = QUOTAS.lock().iter().map(|(uid, own)| (*uid, *own)).try_collect_vec()?;
    for (uid, (keys, bytes)) in users {
        let shown = crate::this::with(|me| me.process.credentials.lock().shown(user_space::Kind::User, uid));
        let (keys_max, bytes_max) = if uid == 0 { ROOT_QUOTA } else { QUOTA };
        writeln!(text, "{shown:>5}: {keys:>5} {keys}/{keys} {keys}/{keys_max} {bytes}/{bytes_max}")?;
    }
    Ok(())
}

/// What is left of a key's time, in the largest unit that it is one of.
struct Left(Option<u64>);

impl Display for Left {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        const UNITS: [(u64, char); 5] = [(604_800, 'w'), (86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
        let Some(end) = self.0 else { return f.pad("perm") };
        let Some(left) = end.checked_sub(clock::monotonic_ns()).filter(|left| *left > 0) else {
            return f.pad("expd");
        };
        let seconds = left / clock::SECOND_NS;
        let (unit, letter) = UNITS.into_iter().find(|(unit, _)| seconds >= *unit).unwrap_or((1, 's'));
        let mut shown = heapless::String::<8>::new();
        let _ = write(&mut shown, format_args!("{}{letter}", seconds / unit));
        f.pad(&shown)
    }
}

impl Key {
    fn list(self: &Arc<Self>, text: &mut Text) -> Result<(), NoMemory> {
        let (uid, gid) = self.shown_owners();
        let (expiry, is_revoked, is_invalid, len, links) = {
            let state = self.state.lock();
            (state.expiry, state.is_revoked, state.is_invalid, state.payload.len(), state.links.len())
        };
        let flag = |holds: bool, letter: char| if holds { letter } else { '-' };
        write!(
            text,
            "{:08x} I{}-Q--{} {:>5} {:>4} {:08x} {uid:>5} {gid:>5} {:<9} ",
            self.id,
            flag(is_revoked, 'R'),
            flag(is_invalid, 'i'),
            Arc::strong_count(self) - 1,
            Left(expiry),
            self.rights.load(Relaxed),
            self.kind.name(),
        )?;
        text.push(&self.description)?;
        match self.kind {
            Kind::Keyring if links == 0 => text.push(b": empty\n"),
            Kind::Keyring => writeln!(text, ": {links}"),
            Kind::Big => writeln!(text, ": {len} [buff]"),
            Kind::User | Kind::Logon => writeln!(text, ": {len}"),
        }
    }

    /// Its user and group as the reader sees them.
    pub(super) fn shown_owners(&self) -> (u32, u32) {
        crate::this::with(|thread| {
            let own = thread.process.credentials.lock();
            let (uid, gid) = (self.uid.load(Relaxed), self.gid.load(Relaxed));
            // A keyring of a user has no group.
            let gid = if gid == u32::MAX { OVERFLOW_ID } else { gid };
            (own.shown(user_space::Kind::User, uid), own.shown(user_space::Kind::Group, gid))
        })
    }
}
