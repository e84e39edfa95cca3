//! The error numbers for what is refused by crates that know no kernel.
use crate::errno::Errno;
use coracle_sysv::{Missing, Refused};

impl From<coracle_mqueue::Refused> for Errno {
    fn from(refused: coracle_mqueue::Refused) -> Errno {
        match refused {
            coracle_mqueue::Refused::Invalid => Errno::INVAL,
            coracle_mqueue::Refused::Overflow => Errno::OVERFLOW,
        }
    }
}

impl From<Missing> for Errno {
    fn from(missing: Missing) -> Errno {
        match missing {
            Missing::Invalid => Errno::INVAL,
            Missing::Removed => Errno::IDRM,
        }
    }
}

impl From<Refused> for Errno {
    fn from(refused: Refused) -> Errno {
        match refused {
            Refused::Full => Errno::NOSPC,
            Refused::NoMemory => Errno::NOMEM,
        }
    }
}

impl From<Errno> for coracle_block::Error {
    fn from(error: Errno) -> coracle_block::Error {
        use coracle_block::Error;
        match error {
            Errno::NOMEM => Error::NoMemory,
            Errno::INVAL => Error::Range,
            Errno::ROFS => Error::ReadOnly,
            Errno::OPNOTSUPP => Error::Unsupported,
            Errno::INTR => Error::Interrupted,
            _ => Error::Io,
        }
    }
}

impl From<coracle_sched_policy::Refused> for Errno {
    fn from(refused: coracle_sched_policy::Refused) -> Errno {
        match refused {
            coracle_sched_policy::Refused::Invalid => Errno::INVAL,
            coracle_sched_policy::Refused::NotPermitted => Errno::PERM,
        }
    }
}
