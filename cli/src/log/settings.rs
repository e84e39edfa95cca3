//! Where a guest's lines go, as options and `Coracle.toml` say it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use coracle_image::{Peer, SyslogServer};

use super::data::MOST_FILES;
use super::priority::{Priority, facility_of_name};
use super::remote::Address;
use crate::error::{Error, Result};
use crate::size::{MIB, Size};

/// What keeps the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// A file of the user's, for `coracle logs`.
    #[default]
    JsonFile,
    /// systemd-journald.
    Journald,
    /// A syslog daemon.
    Syslog,
    /// Nothing.
    None,
}

impl Driver {
    const ALL: [Driver; 4] = [Driver::JsonFile, Driver::Journald, Driver::Syslog, Driver::None];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Driver::JsonFile => "json-file",
            Driver::Journald => "journald",
            Driver::Syslog => "syslog",
            Driver::None => "none",
        }
    }

    /// Names of the options that it has.
    fn options(self) -> &'static [&'static str] {
        match self {
            Driver::JsonFile => &["max-size", "max-file"],
            Driver::Journald => &["tag", "address"],
            Driver::Syslog => &["address", "tag", "facility", "ca"],
            Driver::None => &[],
        }
    }
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> Result<Driver, String> {
        let found = Driver::ALL.into_iter().find(|driver| driver.name() == text);
        found.ok_or_else(|| format!("`{text}` is no log driver: json-file, journald, syslog or none"))
    }
}

/// A `--log-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOption {
    name: String,
    value: String,
}

impl FromStr for LogOption {
    type Err = String;

    fn from_str(text: &str) -> Result<LogOption, String> {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
        Ok(LogOption { name: name.to_owned(), value: value.to_owned() })
    }
}

/// A syslog server: `udp://`, `tcp://` or `tls://` with HOST:PORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(pub Address);

impl Server {
    /// The server as a guest knows it. None if a guest can't send to it: over TLS.
    pub fn of_guest(&self) -> Option<SyslogServer> {
        let peer = |host: &String, port: &u16| Peer { host: host.clone(), port: *port };
        match &self.0 {
            Address::Udp(host, port) => Some(SyslogServer { is_stream: false, peer: peer(host, port) }),
            Address::Tcp(host, port) => Some(SyslogServer { is_stream: true, peer: peer(host, port) }),
            Address::Tls(..) | Address::Unix(_) => None,
        }
    }
}

impl From<SyslogServer> for Server {
    fn from(SyslogServer { is_stream, peer: Peer { host, port } }: SyslogServer) -> Server {
        Server(if is_stream { Address::Tcp(host, port) } else { Address::Udp(host, port) })
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Server, String> {
        match text.parse()? {
            Address::Unix(_) => {
                Err("a server is udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT".to_owned())
            }
            address => Ok(Server(address)),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All that was chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The driver.
    pub driver: Driver,
    /// Whether one was asked for, rather than taken by default.
    pub is_explicit: bool,
    /// Bytes of a file, beyond which a new one is begun; 0: no limit.
    pub most_bytes: u64,
    /// Files.
    pub most_files: u32,
    /// Where the daemon of the driver listens.
    pub address: Option<Address>,
    /// What lines are marked with; the guest's name unless given.
    pub tag: Option<String>,
    /// The facility of lines that have none.
    pub facility: u8,
    /// Certificates that a server's is checked by.
    pub authorities: Option<PathBuf>,
    /// A server that gets all lines beside the driver.
    pub server: Option<Address>,
}

impl Choice {
    /// From what the command line says, and `Coracle.toml` where that says nothing.
    ///
    /// # Errors
    /// If an option is not one of the driver's, or its value is wrong.
    pub fn new(
        (driver, options, server): (Option<Driver>, &[LogOption], Option<&Server>),
        settings: (Option<Driver>, &BTreeMap<String, String>, Option<&Server>),
    ) -> Result<Choice> {
        let chosen = driver.or(settings.0);
        let server = server.or(settings.2);
        let mut choice = Choice {
            driver: chosen.unwrap_or_default(),
            is_explicit: chosen.is_some(),
            most_bytes: 20 * MIB,
            most_files: 5,
            address: None,
            tag: None,
            facility: Priority::DAEMON,
            authorities: None,
            server: server.map(|server| server.0.clone()),
        };
        // Options of the file are for its driver.
        if driver.is_none_or(|driver| settings.0.unwrap_or_default() == driver) {
            settings.1.iter().try_for_each(|(name, value)| choice.set(name, value))?;
        }
        options.iter().try_for_each(|option| choice.set(&option.name, &option.value))?;
        Ok(choice)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        // Docker's names have the driver's in front.
        let short = name.strip_prefix("syslog-").unwrap_or(name);
        let is_for_server = self.server.is_some() && matches!(short, "ca" | "facility" | "tag");
        if !self.driver.options().contains(&short) && !is_for_server {
            return Err(Error::new(format!("the log driver {} has no option `{name}`", self.driver.name()))
                .help(match self.driver.options() {
                    [] => "leave out --log-opt".to_owned(),
                    known => format!("it has {}", known.join(", ")),
                }));
        }
        let fail = |why: String| Error::new(format!("--log-opt {name}={value} cannot be used")).why(why);
        match short {
            "max-size" if value == "-1" => self.most_bytes = 0,
            "max-size" => {
                // A number alone is bytes, as docker has it.
                self.most_bytes = match value.parse().ok().filter(|&bytes: &u64| bytes > 0) {
                    Some(bytes) => bytes,
                    None => value.parse::<Size>().map_err(fail)?.0,
                };
            }
            "max-file" => {
                let number = value.parse().ok().filter(|number| (1..=MOST_FILES).contains(number));
                self.most_files =
                    number.ok_or_else(|| fail(format!("it is a number from 1 to {MOST_FILES}")))?;
            }
            "address" => self.address = Some(value.parse().map_err(fail)?),
            "facility" => {
                self.facility = facility_of_name(value)
                    .ok_or_else(|| fail("it is one of syslog(3)'s, such as daemon or local0".to_owned()))?;
            }
            "ca" => self.authorities = Some(value.into()),
            _ => self.tag = Some(value.to_owned()),
        }
        Ok(())
    }
}
