//! The settings of an image: what to run, and how.

use crate::format::{RECORD_HEAD, get_u32, tag};
use crate::{Access, Mode, Peer, SyslogServer, User};

/// The settings of an image. Reading one walks a short list of records, so read each once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config<'a> {
    records: &'a [u8],
}

impl<'a> Config<'a> {
    pub(super) const fn new(records: &'a [u8]) -> Self {
        Config { records }
    }

    /// Path of the program in the image. Empty if the archive names none.
    pub fn program(&self) -> &'a [u8] {
        self.last(tag::PROGRAM).unwrap_or_default()
    }

    /// The arguments, the program's own name (`argv[0]`) first.
    pub fn args(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(tag::ARGUMENT)
    }

    /// How many of the arguments stay when a run replaces them: 1, the program's own name, or more if the program is
    /// the interpreter of a script.
    pub fn fixed_args(&self) -> usize {
        let count = self.last(tag::FIXED_ARGUMENTS).and_then(|bytes| get_u32(bytes, 0));
        count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1)
    }

    /// The environment, each as `NAME=VALUE`.
    pub fn env(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(tag::ENVIRONMENT)
    }

    /// The directory the program starts in.
    pub fn cwd(&self) -> &'a [u8] {
        self.last(tag::DIRECTORY).unwrap_or(b"/")
    }

    /// The mode that the program runs in, unless the kernel command line overrides it.
    pub fn mode(&self) -> Mode {
        let word = self.last(tag::MODE).and_then(|word| core::str::from_utf8(word).ok());
        word.and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// What may be asked of a running guest at most.
    pub fn access(&self) -> Access {
        let word = self.last(tag::ACCESS).and_then(|word| core::str::from_utf8(word).ok());
        word.and_then(|word| word.parse().ok()).unwrap_or(Access::Full)
    }

    /// The TCP port on which the guest serves its metrics, unless the kernel command line overrides it.
    pub fn metrics_port(&self) -> Option<u16> {
        self.last(tag::METRICS_PORT)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// The NTP servers that the guest sets its clock by, unless the kernel command line names others.
    pub fn ntp(&self) -> impl Iterator<Item = Peer> + use<'a> {
        let texts = self.all(tag::NTP).filter_map(|text| core::str::from_utf8(text).ok());
        texts.filter_map(|text| Peer::parse(text, 0))
    }

    /// The syslog server that the guest sends its lines to, unless the kernel command line says otherwise.
    pub fn syslog(&self) -> Option<SyslogServer> {
        SyslogServer::parse(core::str::from_utf8(self.last(tag::SYSLOG)?).ok()?)
    }

    /// Directories that are kept in memory: each an absolute path, and options of tmpfs(5) with commas between them.
    pub fn tmpfs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.all(tag::TMPFS).filter_map(|record| {
            let at = record.iter().position(|&byte| byte == 0)?;
            Some((&record[..at], &record[at + 1..]))
        })
    }

    /// Programs with capabilities (capabilities(7)): the numbers of their inodes, and the values of their attribute
    /// `security.capability`.
    pub fn capabilities(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        self.all(tag::CAPABILITIES)
            .filter_map(|record| Some((get_u32(record, 0)?, &record[size_of::<u32>()..])))
    }

    /// The user that the program runs as, unless the kernel command line overrides it.
    pub fn user(&self) -> User {
        let bytes = self.last(tag::USER).unwrap_or_default();
        let ids = get_u32(bytes, 0).zip(get_u32(bytes, 4));
        ids.map_or(User::ORDINARY, |(uid, gid)| User { uid, gid })
    }

    /// The name of the machine, if the image sets one.
    pub fn hostname(&self) -> Option<&'a [u8]> {
        self.last(tag::HOSTNAME)
    }

    /// The version of the kernel in the image, for people.
    pub fn kernel_version(&self) -> Option<&'a str> {
        self.last(tag::KERNEL_VERSION).and_then(|text| core::str::from_utf8(text).ok())
    }

    /// The memory the image asks for, in bytes, if it was built with such a wish.
    pub fn memory(&self) -> Option<u64> {
        self.last(tag::MEMORY)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// The checks of the guest's health, as text: for the command that runs the image, since the kernel makes none itself.
    pub fn health(&self) -> Option<&'a str> {
        self.last(tag::HEALTH).and_then(|text| core::str::from_utf8(text).ok())
    }

    /// The jobs of the schedule, as the crate `coracle-cron` has them.
    pub fn cron(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(tag::CRON)
    }

    /// The names of the jobs, in their order.
    pub fn cron_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(tag::CRON_NAME)
    }

    fn last(&self, wanted: u32) -> Option<&'a [u8]> {
        self.all(wanted).last()
    }

    fn all(&self, wanted: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Records { rest: self.records }.filter(move |&(tag, _)| tag == wanted).map(|(_, value)| value)
    }
}

/// The records of a config section; ends at the first that does not fit.
struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = get_u32(self.rest, 0)?;
        let length = usize::try_from(get_u32(self.rest, 4)?).ok()?;
        let (value, rest) = self.rest.get(RECORD_HEAD..)?.split_at_checked(length)?;
        self.rest = rest;
        Some((tag, value))
    }
}
