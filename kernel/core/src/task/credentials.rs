//! Who a process acts for (credentials(7)).
use alloc::vec::Vec;
use coracle_capabilities::{Capabilities, number};
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_image::User;

/// User and group ids (credentials(7)): real, effective, saved, file system.
#[derive(Debug)]
pub struct Credentials {
    /// User ids.
    pub uid: [u32; 4],
    /// Group ids.
    pub gid: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capability sets.
    pub capabilities: Capabilities,
}

impl Default for Credentials {
    fn default() -> Self {
        Credentials { uid: [0; 4], gid: [0; 4], groups: Vec::new(), capabilities: Capabilities::FULL }
    }
}

impl Credentials {
    /// Whether one with these may send signals to one with `other` (kill(2)): the same user, or CAP_KILL.
    pub fn may_signal(&self, other: &Credentials) -> bool {
        let [real, effective, ..] = self.uid;
        let [other_real, _, other_saved, _] = other.uid;
        let same = [real, effective].into_iter().any(|id| id == other_real || id == other_saved);
        same || self.capabilities.can(number::KILL)
    }
    /// Whether `other`'s real, effective and saved ids are all this one's real ids (ptrace(2), prlimit(2)).
    pub fn has_all_ids_of(&self, other: &Credentials) -> bool {
        let all = |theirs: &[u32; 4], own: u32| theirs[..3].iter().all(|&id| id == own);
        all(&other.uid, self.uid[0]) && all(&other.gid, self.gid[0])
    }
    /// A copy without the supplementary groups.
    pub fn ids(&self) -> Credentials {
        Credentials { groups: Vec::new(), ..*self }
    }
    /// A copy. ENOMEM.
    pub fn try_clone(&self) -> Result<Credentials, NoMemory> {
        Ok(Credentials { groups: self.groups.try_to_vec()?, ..*self })
    }
    /// Whether limits of users hold no such process (CAP_SYS_RESOURCE or CAP_SYS_ADMIN).
    pub fn may_exceed_limits(&self) -> bool {
        self.capabilities.can(number::SYS_ADMIN) || self.capabilities.can(number::SYS_RESOURCE)
    }
    /// Those of a user in no other groups. Only root has capabilities.
    pub fn of_user(user: User) -> Self {
        let capabilities = if user.uid == User::ROOT.uid { Capabilities::FULL } else { Capabilities::NONE };
        Credentials { uid: [user.uid; 4], gid: [user.gid; 4], groups: Vec::new(), capabilities }
    }
}
