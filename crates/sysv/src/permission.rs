//! Owners and modes of objects (sysvipc(7), "Resource access permissions").

/// Reading, and attaching a segment for reading: of the three bits of a class.
pub const READ: u32 = 4;
/// Changing; an operation of semop(2) is such.
pub const WRITE: u32 = 2;

/// The bits of a mode for all three classes: owner, group and others.
const ALL_CLASSES: u32 = 0o777;

/// The process that asks.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
    /// Has CAP_IPC_OWNER: every access is granted.
    pub may_access: bool,
    /// Has CAP_SYS_ADMIN: may change and remove what others own.
    pub may_control: bool,
}

impl Subject<'_> {
    fn is_of(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// Key, owner and mode of an object (`struct ipc_perm`, sysvipc(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The key it was made for; 0 (IPC_PRIVATE): none.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Group of the owner.
    pub gid: u32,
    /// Creator.
    pub creator_uid: u32,
    /// Group of the creator.
    pub creator_gid: u32,
    /// Nine bits of permissions.
    pub mode: u32,
}

impl Permission {
    /// Of a new object: `subject` owns it; of `flags` (as those of semget(2)) the nine bits of permissions count.
    pub fn new(key: i32, subject: &Subject, flags: u32) -> Self {
        Permission {
            key,
            uid: subject.uid,
            gid: subject.gid,
            creator_uid: subject.uid,
            creator_gid: subject.gid,
            mode: flags & ALL_CLASSES,
        }
    }

    /// Whether `subject` may do what is `wanted` ([`READ`], [`WRITE`]).
    pub fn allows(&self, subject: &Subject, wanted: u32) -> bool {
        let class = if subject.uid == self.uid || subject.uid == self.creator_uid {
            self.mode >> 6
        } else if subject.is_of(self.gid) || subject.is_of(self.creator_gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        class & wanted == wanted || subject.may_access
    }

    /// Whether `subject` may do what the three classes of `flags` want at once, as semget(2) and similar calls request an
    /// object that exists.
    pub fn allows_flags(&self, subject: &Subject, flags: u32) -> bool {
        let wanted = flags >> 6 | flags >> 3 | flags;
        self.allows(subject, wanted & (READ | WRITE))
    }

    /// Whether `subject` may change or remove the object (IPC_SET, IPC_RMID).
    pub fn is_controlled_by(&self, subject: &Subject) -> bool {
        subject.uid == self.uid || subject.uid == self.creator_uid || subject.may_control
    }

    /// IPC_SET: changes the owner and the nine bits.
    pub fn change(&mut self, uid: u32, gid: u32, mode: u32) {
        self.uid = uid;
        self.gid = gid;
        self.mode = self.mode & !ALL_CLASSES | mode & ALL_CLASSES;
    }
}
