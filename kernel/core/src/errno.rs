//! Linux error numbers (errno(3)).
use alloc::collections::TryReserveError;
use coracle_capabilities::NotPermitted;
use coracle_fallible::NoMemory;
use core::fmt;
use core::num::NonZeroUsize;
use linux_raw_sys::errno as n;

/// A Linux error number.
///
/// It is kept as rax takes it, as its negative, and as wide: so a [`SysResult`] travels in two registers, of which the
/// second goes to rax as it is, and a `Result<(), Errno>` in one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(NonZeroUsize);

/// What a system call gives: the value for rax, or an error.
pub type SysResult = Result<usize, Errno>;

macro_rules! errnos {
    ($($name:ident = $raw:ident),* $(,)?) => {
        #[allow(missing_docs)]
        impl Errno { $(pub const $name: Errno = Errno::new(n::$raw as u16);)* }
    };
}

errnos! {
    PERM = EPERM, NOENT = ENOENT, SRCH = ESRCH, INTR = EINTR, IO = EIO, NXIO = ENXIO, TOOBIG = E2BIG, NOEXEC = ENOEXEC,
    BADF = EBADF, BADFD = EBADFD, BADR = EBADR, CHILD = ECHILD, AGAIN = EAGAIN, NOMEM = ENOMEM, ACCES = EACCES, FAULT = EFAULT, NOTBLK = ENOTBLK, BUSY = EBUSY,
    EXIST = EEXIST, XDEV = EXDEV, NODEV = ENODEV, NOTDIR = ENOTDIR, ISDIR = EISDIR, INVAL = EINVAL, NFILE = ENFILE,
    MFILE = EMFILE, NOTTY = ENOTTY, TXTBSY = ETXTBSY, FBIG = EFBIG, NOSPC = ENOSPC, SPIPE = ESPIPE, ROFS = EROFS,
    MLINK = EMLINK, PIPE = EPIPE, DOM = EDOM, RANGE = ERANGE, DEADLK = EDEADLK, NAMETOOLONG = ENAMETOOLONG,
    NOLCK = ENOLCK, NOSYS = ENOSYS, NOTEMPTY = ENOTEMPTY, LOOP = ELOOP, TOOMANYREFS = ETOOMANYREFS, NODATA = ENODATA, TIME = ETIME, USERS = EUSERS,
    OVERFLOW = EOVERFLOW, NOTSOCK = ENOTSOCK, DESTADDRREQ = EDESTADDRREQ, MSGSIZE = EMSGSIZE, PROTOTYPE = EPROTOTYPE,
    NOPROTOOPT = ENOPROTOOPT, PROTONOSUPPORT = EPROTONOSUPPORT, SOCKTNOSUPPORT = ESOCKTNOSUPPORT, OPNOTSUPP = EOPNOTSUPP,
    PFNOSUPPORT = EPFNOSUPPORT, AFNOSUPPORT = EAFNOSUPPORT, ADDRINUSE = EADDRINUSE, ADDRNOTAVAIL = EADDRNOTAVAIL, NETDOWN = ENETDOWN,
    NETUNREACH = ENETUNREACH, CONNABORTED = ECONNABORTED, CONNRESET = ECONNRESET, NOBUFS = ENOBUFS, ISCONN = EISCONN,
    NOTCONN = ENOTCONN, SHUTDOWN = ESHUTDOWN, TIMEDOUT = ETIMEDOUT, CONNREFUSED = ECONNREFUSED, HOSTUNREACH = EHOSTUNREACH,
    PROTO = EPROTO, ALREADY = EALREADY, INPROGRESS = EINPROGRESS, CANCELED = ECANCELED, OWNERDEAD = EOWNERDEAD, IDRM = EIDRM, NOMSG = ENOMSG, STALE = ESTALE, DQUOT = EDQUOT, NOKEY = ENOKEY,
    KEYEXPIRED = EKEYEXPIRED, KEYREVOKED = EKEYREVOKED,
}

impl Errno {
    /// The error of that number, which is above zero (0 would be no error, and counts as 1, EPERM).
    pub const fn new(number: u16) -> Errno {
        match NonZeroUsize::new((number as usize).wrapping_neg()) {
            Some(negative) => Errno(negative),
            None => Errno(NonZeroUsize::MAX),
        }
    }
    /// Its number, above zero.
    pub const fn number(self) -> u16 {
        self.0.get().wrapping_neg() as u16
    }
    /// What the program finds in rax.
    #[inline(always)]
    pub const fn to_rax(self) -> usize {
        self.0.get()
    }

    /// The call was interrupted by a signal and may be started again (SA_RESTART); never seen by the program.
    pub const RESTARTSYS: Errno = Errno::new(512);
    /// Interrupted; started again, whether a handler ran or not (Linux's ERESTARTNOINTR).
    pub const RESTARTNOINTR: Errno = Errno::new(513);
    /// Interrupted; not started again if a handler ran, started again if none did (Linux's ERESTARTNOHAND).
    pub const RESTARTNOHAND: Errno = Errno::new(514);
}

impl From<NotPermitted> for Errno {
    fn from(_: NotPermitted) -> Errno {
        Errno::PERM
    }
}

impl From<NoMemory> for Errno {
    fn from(_: NoMemory) -> Errno {
        Errno::NOMEM
    }
}

impl From<TryReserveError> for Errno {
    fn from(_: TryReserveError) -> Errno {
        Errno::NOMEM
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Errno({})", self.number())
    }
}
