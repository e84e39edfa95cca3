//! Permission checks for files: path_resolution(7), "Permissions"; capabilities(7).

/// What is wanted of a file, as in access(2) and in each three bits of a mode.
pub const READ: u32 = 4;
/// See [`READ`].
pub const WRITE: u32 = 2;
/// Executing a file, searching a directory.
pub const EXECUTE: u32 = 1;

pub use coracle_capabilities::number as capability;

/// Bits of a mode (inode(7)).
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const ANY_EXECUTE: u32 = 0o111;
const GROUP_EXECUTE: u32 = 0o010;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// File-system user id.
    pub uid: u32,
    /// File-system group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
}

/// What is known of the file.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    /// Kind and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owned {
    fn is_directory(&self) -> bool {
        self.mode & KIND == DIRECTORY
    }
}

/// Whether a mode lets every user do what is `wanted`: then the credentials of the caller do not matter.
pub fn everybody_may(mode: u32, wanted: u32) -> bool {
    let all = wanted | wanted << 3 | wanted << 6;
    mode & all == all
}

impl Caller<'_> {
    /// Whether a capability is there, by its number.
    pub fn can(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 != 0
    }
    /// Whether the caller is of the group.
    pub fn is_of(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
    /// Whether `wanted` (of [`READ`], [`WRITE`], [`EXECUTE`]) is granted: by the class the caller is of, which is one of
    /// owner, group and others, or by capabilities.
    pub fn may(&self, file: &Owned, wanted: u32) -> bool {
        let class = if self.uid == file.uid {
            file.mode >> 6
        } else if self.is_of(file.gid) {
            file.mode >> 3
        } else {
            file.mode
        };
        if class & wanted == wanted {
            return true;
        }
        let reads_only = if file.is_directory() { wanted & WRITE == 0 } else { wanted == READ };
        if reads_only && self.can(capability::DAC_READ_SEARCH) {
            return true;
        }
        // A file that no user may execute is no program.
        let executable = wanted & EXECUTE == 0 || file.is_directory() || file.mode & ANY_EXECUTE != 0;
        executable && self.can(capability::DAC_OVERRIDE)
    }
    /// Whether the caller may do what the owner may: chmod(2), utimensat(2), open(2) with O_NOATIME.
    pub fn owns(&self, file: &Owned) -> bool {
        self.uid == file.uid || self.can(capability::FOWNER)
    }
    /// Whether `entry` may be removed from or renamed in a directory that the caller may write to: in a sticky one by its
    /// owner and the directory's alone.
    pub fn may_remove(&self, directory: &Owned, entry: &Owned) -> bool {
        directory.mode & STICKY == 0 || self.uid == directory.uid || self.owns(entry)
    }
    /// Whether chown(2) may change owner and group to these: the owner may assign the file to another group that the owner is in.
    pub fn may_give(&self, file: &Owned, uid: Option<u32>, gid: Option<u32>) -> bool {
        let keeps_owner = uid.is_none_or(|uid| uid == file.uid) && self.uid == file.uid;
        let own_group = gid.is_none_or(|gid| gid == file.gid || self.is_of(gid));
        let changes_nothing = uid.is_none() && gid.is_none();
        self.can(capability::CHOWN) || changes_nothing || (keeps_owner && own_group)
    }
    /// Whether link(2) may add a name to the file: the owner may, others if it is an ordinary file that they could
    /// change anyway (proc(5), protected_hardlinks).
    pub fn may_link(&self, file: &Owned) -> bool {
        let runs_as_other =
            file.mode & SET_UID != 0 || file.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
        let ordinary = file.mode & KIND == REGULAR && !runs_as_other;
        self.owns(file) || (ordinary && self.may(file, READ | WRITE))
    }
    /// The mode that chmod(2) sets for `mode`: without set-group-ID for a group that the caller is not in.
    pub fn new_mode(&self, file: &Owned, mode: u32) -> u32 {
        if self.is_of(file.gid) || self.can(capability::FSETID) { mode } else { mode & !SET_GID }
    }
    /// The mode of a file once the caller has written to it or given it another size: without set-ID bits (write(2), truncate(2)), but for
    /// a set-group-ID bit that has another meaning, and for those who may keep them.
    pub fn mode_after_write(&self, file: &Owned) -> u32 {
        if file.mode & KIND != REGULAR || self.can(capability::FSETID) {
            return file.mode;
        }
        let runs_as_group = file.mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
        file.mode & !SET_UID & !(if runs_as_group { SET_GID } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Caller = Caller { uid: 0, gid: 0, groups: &[], capabilities: u64::MAX };
    const USER: Caller = Caller { uid: 1000, gid: 1000, groups: &[50], capabilities: 0 };

    fn file(permissions: u32, uid: u32, gid: u32) -> Owned {
        Owned { mode: REGULAR | permissions, uid, gid }
    }
    fn directory(permissions: u32, uid: u32, gid: u32) -> Owned {
        Owned { mode: DIRECTORY | permissions, uid, gid }
    }

    #[test]
    fn writing_takes_the_right_to_run_as_another() {
        assert_eq!(USER.mode_after_write(&file(0o6755, 1000, 1000)), REGULAR | 0o755);
        assert_eq!(USER.mode_after_write(&file(0o6745, 1000, 1000)), REGULAR | 0o2745);
        assert_eq!(ROOT.mode_after_write(&file(0o6755, 1000, 1000)), REGULAR | 0o6755);
        assert_eq!(USER.mode_after_write(&directory(0o2755, 1000, 1000)), DIRECTORY | 0o2755);
    }

    #[test]
    fn one_class_decides() {
        assert!(USER.may(&file(0o600, 1000, 0), READ | WRITE));
        assert!(!USER.may(&file(0o600, 0, 0), READ));
        // The owner is not saved by what others may, nor the group.
        assert!(!USER.may(&file(0o077, 1000, 1000), READ));
        assert!(!USER.may(&file(0o707, 0, 50), READ));
        assert!(USER.may(&file(0o040, 0, 50), READ) && USER.may(&file(0o040, 0, 1000), READ));
        assert!(USER.may(&file(0o004, 0, 0), READ) && !USER.may(&file(0o004, 0, 0), READ | WRITE));
    }

    #[test]
    fn everybody_is_every_class() {
        for mode in 0..0o1000 {
            for wanted in 0..8 {
                let each =
                    [(1000, 0), (0, 1000), (0, 0)].map(|(uid, gid)| USER.may(&file(mode, uid, gid), wanted));
                assert_eq!(everybody_may(mode, wanted), each == [true; 3], "{mode:o} {wanted}");
            }
        }
    }

    #[test]
    fn capabilities_override() {
        assert!(ROOT.may(&file(0, 1000, 1000), READ | WRITE) && !ROOT.may(&file(0o666, 0, 0), EXECUTE));
        assert!(
            ROOT.may(&file(0o100, 1000, 1000), EXECUTE) && ROOT.may(&directory(0, 1, 1), WRITE | EXECUTE)
        );
        let reader = Caller { capabilities: 1 << capability::DAC_READ_SEARCH, ..USER };
        assert!(reader.may(&file(0, 0, 0), READ) && !reader.may(&file(0, 0, 0), READ | WRITE));
        assert!(reader.may(&directory(0, 0, 0), READ | EXECUTE) && !reader.may(&directory(0, 0, 0), WRITE));
    }

    #[test]
    fn owners_give_and_remove_within_bounds() {
        assert!(USER.may_give(&file(0, 1000, 1000), None, Some(50)));
        assert!(!USER.may_give(&file(0, 1000, 1000), None, Some(51)));
        assert!(
            !USER.may_give(&file(0, 1000, 1000), Some(0), None)
                && ROOT.may_give(&file(0, 5, 5), Some(6), Some(7))
        );
        assert!(!USER.may_remove(&directory(0o1777, 0, 0), &file(0o666, 5, 5)));
        assert!(USER.may_remove(&directory(0o1777, 0, 0), &file(0, 1000, 5)));
        assert!(USER.may_remove(&directory(0o1777, 1000, 0), &file(0, 5, 5)));
        assert!(USER.may_remove(&directory(0o777, 0, 0), &file(0, 5, 5)));
        assert!(USER.may_link(&file(0o666, 0, 0)) && !USER.may_link(&file(0o644, 0, 0)));
        assert!(!USER.may_link(&file(0o4777, 0, 0)) && ROOT.may_link(&file(0, 5, 5)));
        assert_eq!(USER.new_mode(&file(0, 1000, 7), 0o2755), 0o755);
        assert_eq!(USER.new_mode(&file(0, 1000, 50), 0o2755), 0o2755);
    }
}
