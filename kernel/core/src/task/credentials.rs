//! Who a process acts for (credentials(7)).
use super::user_space::{self, Kind, OVERFLOW_ID, UserSpace};
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_capabilities::{Capabilities, number};
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_image::User;

/// The machine's id of what the running program calls `id`; `id` itself where no program runs. EINVAL if there is none.
pub fn machine_id(kind: Kind, id: u32) -> Result<u32, Errno> {
    if !crate::this::is_any() {
        return Ok(id);
    }
    crate::this::with(|thread| thread.process.credentials.lock().machine(kind, id)).ok_or(Errno::INVAL)
}

/// User and group ids (credentials(7)): real, effective, saved, file system.
pub struct Credentials {
    /// User ids.
    pub uid: [u32; 4],
    /// Group ids.
    pub gid: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// The user namespace, in which the capabilities count; `None` is the first.
    pub space: Option<Arc<UserSpace>>,
}

impl Default for Credentials {
    fn default() -> Self {
        Credentials {
            uid: [0; 4],
            gid: [0; 4],
            groups: Vec::new(),
            capabilities: Capabilities::FULL,
            space: None,
        }
    }
}

impl Credentials {
    /// Whether one with these may send signals to one with `other` (kill(2)): the same user, or CAP_KILL.
    pub fn may_signal(&self, other: &Credentials) -> bool {
        let [real, effective, ..] = self.uid;
        let [other_real, _, other_saved, _] = other.uid;
        let same = [real, effective].into_iter().any(|id| id == other_real || id == other_saved);
        same || self.can_in(other.space.as_ref(), number::KILL)
    }
    /// Whether `other`'s real, effective and saved ids are all this one's real ids (ptrace(2), prlimit(2)).
    pub fn has_all_ids_of(&self, other: &Credentials) -> bool {
        let all = |theirs: &[u32; 4], own: u32| theirs[..3].iter().all(|&id| id == own);
        all(&other.uid, self.uid[0]) && all(&other.gid, self.gid[0])
    }
    /// Whether it has a capability for what belongs to the machine.
    pub fn can(&self, number: u32) -> bool {
        self.space.is_none() && self.capabilities.can(number)
    }
    /// Whether it has a capability for what belongs to a user namespace: its own, or one made in that, whose owner has all.
    pub fn can_in(&self, owner: Option<&Arc<UserSpace>>, number: u32) -> bool {
        let own = self.space.as_ref();
        let mut at = owner;
        loop {
            if user_space::same(at, own) {
                return self.capabilities.can(number);
            }
            let Some(space) = at else { return false };
            if user_space::same(space.parent(), own) && space.owner[0] == self.uid[1] {
                return true;
            }
            at = space.parent();
        }
    }
    /// What its program sees of one of the machine's ids.
    pub fn shown(&self, kind: Kind, id: u32) -> u32 {
        self.space.as_ref().map_or(id, |space| space.inside(kind, id).unwrap_or(OVERFLOW_ID))
    }
    /// The machine's id of what its program calls `id`, if there is one.
    pub fn machine(&self, kind: Kind, id: u32) -> Option<u32> {
        match &self.space {
            None => Some(id),
            Some(space) => space.machine(kind, id),
        }
    }
    /// A copy without the supplementary groups.
    pub fn ids(&self) -> Credentials {
        Credentials { groups: Vec::new(), space: self.space.clone(), ..*self }
    }
    /// A copy. ENOMEM.
    pub fn try_clone(&self) -> Result<Credentials, NoMemory> {
        Ok(Credentials { groups: self.groups.try_to_vec()?, space: self.space.clone(), ..*self })
    }
    /// Whether limits of users hold no such process (CAP_SYS_RESOURCE or CAP_SYS_ADMIN).
    pub fn may_exceed_limits(&self) -> bool {
        self.can(number::SYS_ADMIN) || self.can(number::SYS_RESOURCE)
    }
    /// Those of a user in no other groups. Only root has capabilities.
    pub fn of_user(user: User) -> Self {
        let capabilities = if user.uid == User::ROOT.uid { Capabilities::FULL } else { Capabilities::NONE };
        Credentials { uid: [user.uid; 4], gid: [user.gid; 4], groups: Vec::new(), capabilities, space: None }
    }
}
