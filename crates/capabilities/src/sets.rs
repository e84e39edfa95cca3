//! The sets and their rules.
use crate::{FileCapabilities, NotPermitted, number};

/// All capabilities there are.
const ALL: u64 = (1 << (number::LAST + 1)) - 1;
/// Those that come and go with the file-system user id (Linux's CAP_FS_MASK, of those that mean something here).
const OF_FILES: u64 = 1 << number::CHOWN
    | 1 << number::DAC_OVERRIDE
    | 1 << number::DAC_READ_SEARCH
    | 1 << number::FOWNER
    | 1 << number::FSETID
    | 1 << number::MKNOD;

/// The secure bits (capabilities(7), "The securebits flags").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecureBits(u32);

impl SecureBits {
    /// SECBIT_NOROOT: user id 0 gains nothing at an execution.
    const NO_ROOT: u32 = 1;
    /// SECBIT_NO_SETUID_FIXUP: changes of user ids change no set.
    const NO_SETUID_FIXUP: u32 = 1 << 2;
    /// SECBIT_KEEP_CAPS: the permitted set stays when all user ids become others than 0.
    const KEEP_CAPS: u32 = 1 << 4;
    /// SECBIT_NO_CAP_AMBIENT_RAISE.
    const NO_AMBIENT_RAISE: u32 = 1 << 6;
    /// The bits that are no locks; the lock of each is the next bit.
    const ALL: u32 = Self::NO_ROOT | Self::NO_SETUID_FIXUP | Self::KEEP_CAPS | Self::NO_AMBIENT_RAISE;

    /// As prctl(2) returns them.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// The bits that are locked.
    fn locked(self) -> u32 {
        self.0 >> 1 & Self::ALL
    }
}

/// The sets of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What it can do now.
    pub effective: u64,
    /// What it may make effective.
    pub permitted: u64,
    /// What it may pass on.
    pub inheritable: u64,
    /// What it can gain at most.
    pub bounding: u64,
    /// What programs without privileges of their own keep.
    pub ambient: u64,
    /// Which rules hold.
    pub secure: SecureBits,
}

impl Capabilities {
    /// Root's.
    pub const FULL: Capabilities = Capabilities {
        effective: ALL,
        permitted: ALL,
        inheritable: 0,
        bounding: ALL,
        ambient: 0,
        secure: SecureBits(0),
    };
    /// Another user's.
    pub const NONE: Capabilities = Capabilities { effective: 0, permitted: 0, ..Self::FULL };

    /// Whether it has a capability.
    pub fn can(&self, number: u32) -> bool {
        self.effective >> number & 1 != 0
    }

    /// Real, effective and saved user ids changed (capabilities(7), "Effect of user ID changes on capabilities").
    pub fn user_ids_changed(&mut self, old: [u32; 3], new: [u32; 3]) {
        if self.secure.has(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        if old.contains(&0) && !new.contains(&0) {
            if !self.secure.has(SecureBits::KEEP_CAPS) {
                self.permitted = 0;
                self.effective = 0;
            }
            self.ambient = 0;
        }
        match (old[1], new[1]) {
            (0, 0) => {}
            (0, _) => self.effective = 0,
            (_, 0) => self.effective = self.permitted,
            _ => {}
        }
    }

    /// The file-system user id changed (setfsuid(2)).
    pub fn file_user_changed(&mut self, old: u32, new: u32) {
        if self.secure.has(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        match (old, new) {
            (0, 0) => {}
            (0, _) => self.effective &= !OF_FILES,
            (_, 0) => self.effective |= self.permitted & OF_FILES,
            _ => {}
        }
    }

    /// capset(2). Bits beyond the last capability are ignored.
    ///
    /// # Errors
    /// [`NotPermitted`]: a set would gain what it may not.
    pub fn set(&mut self, effective: u64, permitted: u64, inheritable: u64) -> Result<(), NotPermitted> {
        let [effective, permitted, inheritable] = [effective, permitted, inheritable].map(|set| set & ALL);
        let own = self.inheritable | self.permitted;
        if (!self.can(number::SETPCAP) && inheritable & !own != 0)
            || inheritable & !(self.inheritable | self.bounding) != 0
            || permitted & !self.permitted != 0
            || effective & !permitted != 0
        {
            return Err(NotPermitted);
        }
        (self.effective, self.permitted, self.inheritable) = (effective, permitted, inheritable);
        self.ambient &= permitted & inheritable;
        Ok(())
    }

    /// A program is executed (capabilities(7), "Transformation of capabilities during execve()" and the sections behind it). `real`,
    /// `effective`: the user ids from then on; `set_id`: an id comes from the file; `file`: what the file gives. Whether the program has
    /// to take care of what its caller gave it (AT_SECURE).
    ///
    /// # Errors
    /// [`NotPermitted`]: the file is to give more than the bounding set has.
    pub fn execute(
        &mut self,
        real: u32,
        effective: u32,
        set_id: bool,
        file: Option<FileCapabilities>,
    ) -> Result<bool, NotPermitted> {
        let (mut permitted, mut in_effect) = (0, false);
        if let Some(file) = file {
            permitted = self.bounding & file.permitted | self.inheritable & file.inheritable;
            in_effect = file.effective;
            if in_effect && file.permitted & ALL & !permitted != 0 {
                return Err(NotPermitted);
            }
        }
        // A set-user-ID program of root's with capabilities has these alone, for others than root.
        let has_own = file.is_some() && effective == 0 && real != 0;
        if !self.secure.has(SecureBits::NO_ROOT) && (real == 0 || effective == 0) && !has_own {
            permitted = self.inheritable | self.bounding;
            in_effect |= effective == 0;
        }
        if set_id || file.is_some() {
            self.ambient = 0;
        }
        self.permitted = permitted | self.ambient;
        self.effective = if in_effect { self.permitted } else { self.ambient };
        self.secure.0 &= !SecureBits::KEEP_CAPS;
        Ok(set_id || (real != 0 && (in_effect || self.permitted & !self.ambient != 0)))
    }

    /// PR_CAPBSET_DROP.
    ///
    /// # Errors
    /// [`NotPermitted`] without CAP_SETPCAP.
    pub fn drop_from_bounding(&mut self, number: u32) -> Result<(), NotPermitted> {
        if !self.can(number::SETPCAP) {
            return Err(NotPermitted);
        }
        self.bounding &= !(1 << number);
        Ok(())
    }

    /// PR_CAP_AMBIENT_RAISE.
    ///
    /// # Errors
    /// [`NotPermitted`] for one that is not both permitted and inheritable, and where a secure bit forbids it.
    pub fn raise_ambient(&mut self, number: u32) -> Result<(), NotPermitted> {
        let may = (self.permitted & self.inheritable) >> number & 1 != 0;
        if !may || self.secure.has(SecureBits::NO_AMBIENT_RAISE) {
            return Err(NotPermitted);
        }
        self.ambient |= 1 << number;
        Ok(())
    }

    /// PR_SET_KEEPCAPS.
    ///
    /// # Errors
    /// [`NotPermitted`] if that is locked.
    pub fn keep(&mut self, keep: bool) -> Result<(), NotPermitted> {
        if self.secure.locked() & SecureBits::KEEP_CAPS != 0 {
            return Err(NotPermitted);
        }
        self.secure.0 = self.secure.0 & !SecureBits::KEEP_CAPS | if keep { SecureBits::KEEP_CAPS } else { 0 };
        Ok(())
    }

    /// PR_GET_KEEPCAPS.
    pub fn keeps(&self) -> bool {
        self.secure.has(SecureBits::KEEP_CAPS)
    }

    /// PR_SET_SECUREBITS.
    ///
    /// # Errors
    /// [`NotPermitted`] without CAP_SETPCAP, for bits there aren't, and where a lock forbids it.
    pub fn set_secure_bits(&mut self, bits: u32) -> Result<(), NotPermitted> {
        let (flags, locks) = (SecureBits::ALL, SecureBits::ALL << 1);
        let locked = self.secure.locked();
        if bits & !(flags | locks) != 0
            || (self.secure.0 ^ bits) & locked != 0
            || self.secure.0 & locks & !bits != 0
            || !self.can(number::SETPCAP)
        {
            return Err(NotPermitted);
        }
        self.secure = SecureBits(bits);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: [u32; 3] = [1000; 3];

    #[test]
    fn root_that_becomes_a_user_loses_all_unless_it_keeps_the_permitted_set() {
        let mut plain = Capabilities::FULL;
        plain.user_ids_changed([0; 3], USER);
        assert_eq!((plain.permitted, plain.effective), (0, 0));
        let mut kept = Capabilities::FULL;
        kept.keep(true).unwrap();
        kept.user_ids_changed([0; 3], USER);
        assert_eq!((kept.permitted, kept.effective), (ALL, 0));
        assert_eq!(kept.execute(1000, 1000, false, None), Ok(false));
        assert_eq!((kept.permitted, kept.keeps()), (0, false));
    }

    #[test]
    fn an_effective_id_takes_the_effective_set_along() {
        let mut sets = Capabilities::FULL;
        sets.user_ids_changed([0; 3], [0, 1000, 0]);
        assert_eq!((sets.permitted, sets.effective), (ALL, 0));
        sets.user_ids_changed([0, 1000, 0], [0; 3]);
        assert_eq!(sets.effective, ALL);
        sets.file_user_changed(0, 1000);
        assert!(!sets.can(number::CHOWN) && sets.can(number::KILL));
        sets.file_user_changed(1000, 0);
        assert!(sets.can(number::CHOWN));
    }

    #[test]
    fn what_is_dropped_from_the_bounding_set_is_not_gained_again() {
        let mut sets = Capabilities::FULL;
        sets.drop_from_bounding(number::KILL).unwrap();
        assert!(sets.can(number::KILL));
        assert_eq!(sets.execute(0, 0, false, None), Ok(false));
        assert!(!sets.can(number::KILL) && sets.can(number::CHOWN));
        sets.set(0, 0, 0).unwrap();
        assert_eq!(sets.drop_from_bounding(number::CHOWN), Err(NotPermitted));
        assert_eq!(sets.execute(0, 0, false, None), Ok(false));
        assert!(sets.can(number::CHOWN));
    }

    #[test]
    fn sets_only_shrink_and_the_inheritable_one_is_bounded() {
        let mut sets = Capabilities::FULL;
        let kill = 1 << number::KILL;
        assert_eq!(sets.set(kill, 0, 0), Err(NotPermitted));
        sets.set(kill, kill, 0).unwrap();
        assert_eq!(sets.set(kill, kill | 1, 0), Err(NotPermitted));
        // Without CAP_SETPCAP only what is permitted can be passed on.
        assert_eq!(sets.set(kill, kill, 1), Err(NotPermitted));
        sets.set(kill, kill, kill).unwrap();
    }

    #[test]
    fn ambient_capabilities_survive_an_execution_without_set_id() {
        let kill = 1 << number::KILL;
        let mut sets = Capabilities::FULL;
        assert_eq!(sets.raise_ambient(number::KILL), Err(NotPermitted));
        sets.set(kill, kill, kill).unwrap();
        sets.raise_ambient(number::KILL).unwrap();
        let mut set_id = sets;
        assert_eq!(sets.execute(1000, 1000, false, None), Ok(false));
        assert_eq!((sets.permitted, sets.effective), (kill, kill));
        assert_eq!(set_id.execute(1000, 1001, true, None), Ok(true));
        assert_eq!((set_id.permitted, set_id.effective), (0, 0));
        sets.set(kill, kill, 0).unwrap();
        assert_eq!(sets.ambient, 0);
    }

    #[test]
    fn a_file_gives_what_the_bounding_set_has() {
        let (kill, chown) = (1 << number::KILL, 1 << number::CHOWN);
        let file = FileCapabilities { permitted: kill, inheritable: chown, effective: true, root: 0 };
        let mut user = Capabilities { inheritable: chown, ..Capabilities::NONE };
        let before = user;
        assert_eq!(user.execute(1000, 1000, false, Some(file)), Ok(true));
        assert_eq!((user.permitted, user.effective), (kill | chown, kill | chown));
        user = before;
        let quiet = FileCapabilities { effective: false, ..file };
        assert_eq!(user.execute(1000, 1000, false, Some(quiet)), Ok(true));
        assert_eq!((user.permitted, user.effective), (kill | chown, 0));
        user = before;
        assert_eq!(user.execute(1000, 0, true, Some(file)), Ok(true));
        assert_eq!((user.permitted, user.effective), (kill | chown, kill | chown));
        user = Capabilities { bounding: 0, ..before };
        assert_eq!(user.execute(1000, 1000, false, Some(file)), Err(NotPermitted));
        assert_eq!(user.execute(1000, 1000, false, Some(quiet)), Ok(true));
        assert_eq!(user.permitted, chown);
        let nothing = FileCapabilities { permitted: 0, inheritable: 0, effective: false, root: 0 };
        assert_eq!(user.execute(1000, 1000, false, Some(nothing)), Ok(false));
        assert_eq!(user.permitted, 0);
        let mut root = Capabilities::FULL;
        assert_eq!(root.execute(0, 0, false, Some(file)), Ok(false));
        assert_eq!(root.permitted, ALL);
    }

    #[test]
    fn locked_secure_bits_stay() {
        let mut sets = Capabilities::FULL;
        sets.set_secure_bits(SecureBits::KEEP_CAPS | SecureBits::KEEP_CAPS << 1).unwrap();
        assert_eq!(sets.keep(false), Err(NotPermitted));
        assert_eq!(sets.set_secure_bits(0), Err(NotPermitted));
        assert_eq!(sets.set_secure_bits(1 << 20), Err(NotPermitted));
        sets.secure = SecureBits(SecureBits::NO_ROOT);
        assert_eq!(sets.execute(0, 0, false, None), Ok(false));
        assert_eq!(sets.permitted, 0);
    }
}
