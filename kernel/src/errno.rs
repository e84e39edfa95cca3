//! Linux error numbers (errno(3)).
use linux_raw_sys::errno as n;

/// A Linux error number, above zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub u16);

/// What a system call gives: the value for rax, or an error.
pub type SysResult = Result<usize, Errno>;

macro_rules! errnos {
    ($($name:ident = $raw:ident),* $(,)?) => {
        #[allow(missing_docs)]
        impl Errno { $(pub const $name: Errno = Errno(n::$raw as u16);)* }
    };
}

errnos! {
    PERM = EPERM, NOENT = ENOENT, SRCH = ESRCH, INTR = EINTR, IO = EIO, NXIO = ENXIO, TOOBIG = E2BIG, NOEXEC = ENOEXEC,
    BADF = EBADF, CHILD = ECHILD, AGAIN = EAGAIN, NOMEM = ENOMEM, ACCES = EACCES, FAULT = EFAULT, BUSY = EBUSY,
    EXIST = EEXIST, XDEV = EXDEV, NODEV = ENODEV, NOTDIR = ENOTDIR, ISDIR = EISDIR, INVAL = EINVAL, NFILE = ENFILE,
    MFILE = EMFILE, NOTTY = ENOTTY, TXTBSY = ETXTBSY, FBIG = EFBIG, NOSPC = ENOSPC, SPIPE = ESPIPE, ROFS = EROFS,
    MLINK = EMLINK, PIPE = EPIPE, DOM = EDOM, RANGE = ERANGE, DEADLK = EDEADLK, NAMETOOLONG = ENAMETOOLONG,
    NOLCK = ENOLCK, NOSYS = ENOSYS, NOTEMPTY = ENOTEMPTY, LOOP = ELOOP, NODATA = ENODATA, TIME = ETIME,
    OVERFLOW = EOVERFLOW, NOTSOCK = ENOTSOCK, DESTADDRREQ = EDESTADDRREQ, MSGSIZE = EMSGSIZE, PROTOTYPE = EPROTOTYPE,
    NOPROTOOPT = ENOPROTOOPT, PROTONOSUPPORT = EPROTONOSUPPORT, SOCKTNOSUPPORT = ESOCKTNOSUPPORT, OPNOTSUPP = EOPNOTSUPP,
    AFNOSUPPORT = EAFNOSUPPORT, ADDRINUSE = EADDRINUSE, ADDRNOTAVAIL = EADDRNOTAVAIL, NETDOWN = ENETDOWN,
    NETUNREACH = ENETUNREACH, CONNABORTED = ECONNABORTED, CONNRESET = ECONNRESET, NOBUFS = ENOBUFS, ISCONN = EISCONN,
    NOTCONN = ENOTCONN, SHUTDOWN = ESHUTDOWN, TIMEDOUT = ETIMEDOUT, CONNREFUSED = ECONNREFUSED, HOSTUNREACH = EHOSTUNREACH,
    ALREADY = EALREADY, INPROGRESS = EINPROGRESS, CANCELED = ECANCELED, OWNERDEAD = EOWNERDEAD,
}

impl Errno {
    /// The call was interrupted by a signal and may be started again (SA_RESTART); never seen by the program.
    pub const RESTARTSYS: Errno = Errno(512);
    /// Interrupted; not started again if a handler ran, started again if none did (Linux's ERESTARTNOHAND).
    pub const RESTARTNOHAND: Errno = Errno(514);
}
