//! The names of the machine (uname(2)).
use crate::lock::Mutex;

/// Bytes of each field of `struct utsname` with its zero.
pub const UTS_LEN: usize = 65;

/// A name in `struct utsname`, without its zero.
pub type UtsName = heapless::Vec<u8, { UTS_LEN - 1 }>;

static HOSTNAME: Mutex<UtsName> = Mutex::new(UtsName::new());
/// The NIS domain (getdomainname(2)).
pub static DOMAIN: Mutex<UtsName> = Mutex::new(UtsName::new());

/// The name of the machine (gethostname(2)).
pub fn hostname() -> UtsName {
    HOSTNAME.lock().clone()
}

/// Sets it; what is too long is cut.
pub fn set_hostname(name: &[u8]) {
    let name = &name[..name.len().min(UTS_LEN - 1)];
    // Cut to what fits.
    *HOSTNAME.lock() = UtsName::from_slice(name).unwrap_or_default();
}
