//! Who logged in (proc(5), `/proc/pid/loginuid` and `/proc/pid/sessionid`): pam_loginuid(8) sets it for sshd, login and cron, and
//! children inherit it.
use coracle_hal::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// No user, and no session (linux/audit.h, `AUDIT_UID_UNSET` and `AUDIT_SID_UNSET`).
const UNSET: u32 = u32::MAX;

/// The session that the last login began.
static LAST_SESSION: AtomicU32 = AtomicU32::new(0);

/// The user who logged in, as the first user namespace numbers users, and the session of that login.
pub struct Login {
    user: AtomicU32,
    session: AtomicU32,
}

impl Default for Login {
    fn default() -> Self {
        Login { user: AtomicU32::new(UNSET), session: AtomicU32::new(UNSET) }
    }
}

impl Login {
    /// Takes over what the parent has.
    pub fn inherit(&self, parent: &Login) {
        self.user.store(parent.user.load(Relaxed), Relaxed);
        self.session.store(parent.session.load(Relaxed), Relaxed);
    }

    /// The user who logged in; `None`: nobody has.
    pub fn user(&self) -> Option<u32> {
        Some(self.user.load(Relaxed)).filter(|user| *user != UNSET)
    }

    /// The session; 4294967295 before a login.
    pub fn session(&self) -> u32 {
        self.session.load(Relaxed)
    }

    /// Begins a session of `user`, or ends what there was (`None`).
    pub fn set(&self, user: Option<u32>) {
        let next = || LAST_SESSION.fetch_add(1, Relaxed).wrapping_add(1);
        let session =
            user.map_or(UNSET, |_| Some(next()).filter(|session| *session != UNSET).unwrap_or_else(next));
        self.session.store(session, Relaxed);
        self.user.store(user.unwrap_or(UNSET), Relaxed);
    }
}
