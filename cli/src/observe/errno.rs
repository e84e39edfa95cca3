//! Names of errors (errno(3)), by Linux's numbers.

/// Names in the order of their numbers, from 1 on; empty where there is none.
static NAMES: &str = "\
EPERM,ENOENT,ESRCH,EINTR,EIO,ENXIO,E2BIG,ENOEXEC,EBADF,ECHILD,EAGAIN,ENOMEM,EACCES,EFAULT,ENOTBLK,EBUSY,EEXIST,\
EXDEV,ENODEV,ENOTDIR,EISDIR,EINVAL,ENFILE,EMFILE,ENOTTY,ETXTBSY,EFBIG,ENOSPC,ESPIPE,EROFS,EMLINK,EPIPE,EDOM,\
ERANGE,EDEADLK,ENAMETOOLONG,ENOLCK,ENOSYS,ENOTEMPTY,ELOOP,,ENOMSG,EIDRM,ECHRNG,EL2NSYNC,EL3HLT,EL3RST,ELNRNG,\
EUNATCH,ENOCSI,EL2HLT,EBADE,EBADR,EXFULL,ENOANO,EBADRQC,EBADSLT,,EBFONT,ENOSTR,ENODATA,ETIME,ENOSR,ENONET,ENOPKG,\
EREMOTE,ENOLINK,EADV,ESRMNT,ECOMM,EPROTO,EMULTIHOP,EDOTDOT,EBADMSG,EOVERFLOW,ENOTUNIQ,EBADFD,EREMCHG,ELIBACC,\
ELIBBAD,ELIBSCN,ELIBMAX,ELIBEXEC,EILSEQ,ERESTART,ESTRPIPE,EUSERS,ENOTSOCK,EDESTADDRREQ,EMSGSIZE,EPROTOTYPE,\
ENOPROTOOPT,EPROTONOSUPPORT,ESOCKTNOSUPPORT,EOPNOTSUPP,EPFNOSUPPORT,EAFNOSUPPORT,EADDRINUSE,EADDRNOTAVAIL,\
ENETDOWN,ENETUNREACH,ENETRESET,ECONNABORTED,ECONNRESET,ENOBUFS,EISCONN,ENOTCONN,ESHUTDOWN,ETOOMANYREFS,ETIMEDOUT,\
ECONNREFUSED,EHOSTDOWN,EHOSTUNREACH,EALREADY,EINPROGRESS,ESTALE,EUCLEAN,ENOTNAM,ENAVAIL,EISNAM,EREMOTEIO,EDQUOT,\
ENOMEDIUM,EMEDIUMTYPE,ECANCELED,ENOKEY,EKEYEXPIRED,EKEYREVOKED,EKEYREJECTED,EOWNERDEAD,ENOTRECOVERABLE,ERFKILL,\
EHWPOISON";

/// The first of the numbers that no program sees: the call is made again after a signal (Linux's errno.h).
const RESTARTS: std::ops::RangeInclusive<i32> = 512..=516;

/// `ENAME (what it says)`
pub fn describe(number: i32) -> String {
    if RESTARTS.contains(&number) {
        return "ERESTARTSYS (to be made again after a signal)".to_owned();
    }
    let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let name = place.and_then(|place| NAMES.split(',').nth(place)).filter(|name| !name.is_empty());
    let Some(name) = name else { return format!("errno {number}") };
    let text = std::io::Error::from_raw_os_error(number).to_string();
    format!("{name} ({})", text.split(" (os error").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn names_stand_at_their_numbers() {
        assert_eq!(describe(libc::ENOENT), "ENOENT (No such file or directory)");
        let all = [
            (libc::EDEADLK, "EDEADLK"),
            (libc::ENOMSG, "ENOMSG"),
            (libc::EBFONT, "EBFONT"),
            (libc::EILSEQ, "EILSEQ"),
            (libc::EOPNOTSUPP, "EOPNOTSUPP"),
            (libc::EINPROGRESS, "EINPROGRESS"),
            (libc::EHWPOISON, "EHWPOISON"),
        ];
        assert!(all.into_iter().all(|(number, name)| describe(number).starts_with(name)));
        assert!(describe(512).starts_with("ERESTARTSYS") && describe(4000) == "errno 4000");
    }
}
