//! The names of the machine (uname(2)).
use super::namespaces::Uts;
use crate::lock::Mutex;
use alloc::sync::Arc;

/// Bytes of each field of `struct utsname` with its zero.
pub const UTS_LEN: usize = 65;

/// A name in `struct utsname`, without its zero.
pub type UtsName = heapless::Vec<u8, { UTS_LEN - 1 }>;

static HOSTNAME: Mutex<UtsName> = Mutex::new(UtsName::new());
static DOMAIN: Mutex<UtsName> = Mutex::new(UtsName::new());

/// The namespace of the running program; `None` is the first.
pub fn own() -> Option<Arc<Uts>> {
    if !crate::this::is_any() {
        return None;
    }
    crate::this::with(|thread| thread.process.namespaces.lock().uts.clone())
}

fn with<R>(
    of_space: fn(&Uts) -> &Mutex<UtsName>,
    first: &Mutex<UtsName>,
    f: impl FnOnce(&mut UtsName) -> R,
) -> R {
    match own() {
        Some(uts) => f(&mut of_space(&uts).lock()),
        None => f(&mut first.lock()),
    }
}

/// The name of the machine (gethostname(2)).
pub fn hostname() -> UtsName {
    with(|uts| &uts.hostname, &HOSTNAME, |name| name.clone())
}

/// Sets it; what is too long is cut.
pub fn set_hostname(name: &[u8]) {
    let name = &name[..name.len().min(UTS_LEN - 1)];
    // Cut to what fits.
    with(|uts| &uts.hostname, &HOSTNAME, |own| *own = UtsName::from_slice(name).unwrap_or_default());
}

/// The NIS domain (getdomainname(2)).
pub fn domain() -> UtsName {
    with(|uts| &uts.domain, &DOMAIN, |name| name.clone())
}

/// Sets it.
pub fn set_domain(name: UtsName) {
    with(|uts| &uts.domain, &DOMAIN, |own| *own = name);
}
