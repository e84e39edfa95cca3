//! Facility and severity of syslog messages (RFC 5424, section 6.2.1).

const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Facility times eight plus severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// The facility of the kernel.
    pub const KERNEL: u8 = 0;
    /// The facility of programs that name none.
    pub const USER: u8 = 1;
    /// The facility of services.
    pub const DAEMON: u8 = 3;
    /// Severities.
    pub const ERROR: u8 = 3;
    /// See [`Priority::ERROR`].
    pub const NOTICE: u8 = 5;
    /// See [`Priority::ERROR`].
    pub const INFO: u8 = 6;

    /// Of both numbers, which are brought into their ranges.
    pub fn new(facility: u8, severity: u8) -> Priority {
        Priority(facility.min(FACILITIES.len() as u8 - 1) * 8 + severity.min(SEVERITIES.len() as u8 - 1))
    }

    /// Of the number that stands in a message; `None` if it is too large.
    pub fn of_number(number: u8) -> Option<Priority> {
        (usize::from(number) < FACILITIES.len() * SEVERITIES.len()).then_some(Priority(number))
    }

    /// As it stands in a message.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The severity's number.
    pub fn severity(self) -> u8 {
        self.0 % 8
    }

    /// The facility's number.
    pub fn facility(self) -> u8 {
        self.0 / 8
    }

    /// The facility's name.
    pub fn facility_name(self) -> &'static str {
        FACILITIES[usize::from(self.0 / 8)]
    }

    /// The severity's name.
    pub fn severity_name(self) -> &'static str {
        SEVERITIES[usize::from(self.0 % 8)]
    }

    /// Of names, as `coracle logs` reads them back.
    pub fn of_names(facility: &str, severity: &str) -> Option<Priority> {
        let severity = SEVERITIES.iter().position(|name| *name == severity)?;
        Some(Priority::new(facility_of_name(facility)?, severity as u8))
    }
}

/// The number of the facility of this name.
pub fn facility_of_name(name: &str) -> Option<u8> {
    FACILITIES.iter().position(|known| *known == name).map(|index| index as u8)
}
