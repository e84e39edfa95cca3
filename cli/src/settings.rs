//! `Coracle.toml`: the settings of a project, which the command line adds to or overrides.
//!
//! ```toml
//! program = "target/release/server"      # relative to the file
//! args = ["--port", "80"]
//! add = ["static:/srv/www"]
//! mode = "unikernel"
//! control = "observe"
//! metrics-port = 9100
//! ntp = ["time.example", "10.0.0.1:1123"]
//! hostname = "web"
//! demand = true
//! root = "../arm64-root"                # relative to the file, too
//! output = "server.img"
//!
//! [env]
//! RUST_LOG = "info"
//!
//! [run]
//! ports = ["8080:80"]
//! memory = "64M"
//! cpus = 2
//! net = "user"
//! volumes = ["data:/var/lib/data"]
//! volume-size = "1G"
//! root-volume = "changes"
//! tmpfs = ["/var/cache:size=64m"]
//! restart = "on-failure:3"
//!
//! [[cron]]
//! schedule = "30 3 * * *"
//! command = "tool --clean"
//! overlap = "skip"
//! timezone = "Europe/Berlin"
//!
//! [health]
//! http = "/health:8080"
//! interval = "10s"
//! log-driver = "json-file"
//! log-opt = { max-size = "10m", max-file = "3" }
//! syslog = "tcp://log.example:601"
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use coracle_image::{Access, Mode, User};
use serde::Deserialize;

use crate::args::{ContentArgs, HealthArgs, NtpServer, hostname};
use crate::bytes;
use crate::environment;
use crate::error::{self, Error, Result};
use crate::log::{Driver, Server};
use crate::net::{Forward, Network};
use crate::pack::cron;
use crate::run::{Restart, VsockWish};
use crate::size::Size;
use crate::volume::{Source, Spec, tmpfs};

/// The name of the settings file.
pub const FILE_NAME: &str = "Coracle.toml";

/// Settings of a project.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program.
    #[serde(default, deserialize_with = "parsed")]
    pub program: Option<OsString>,
    /// Its arguments.
    #[serde(default, deserialize_with = "parsed_list")]
    pub args: Vec<OsString>,
    /// Its environment.
    #[serde(default, deserialize_with = "variables")]
    pub env: BTreeMap<OsString, OsString>,
    /// Files and directories to add, as `HOST[:GUEST]`.
    #[serde(default, deserialize_with = "parsed_list")]
    pub add: Vec<OsString>,
    /// Patterns of files to leave out of added directories.
    #[serde(default, deserialize_with = "parsed_list")]
    pub exclude: Vec<OsString>,
    /// The privilege of the program.
    #[serde(default, deserialize_with = "parsed")]
    pub mode: Option<Mode>,
    /// What may be asked of a running guest, as for `--control`.
    #[serde(default, deserialize_with = "parsed")]
    pub control: Option<Access>,
    /// The port on which the guest serves its metrics, as for `--metrics-port`.
    #[serde(default, rename = "metrics-port")]
    pub metrics_port: Option<u16>,
    /// The NTP servers that the guest sets its clock by, as for `--ntp`: one or a list.
    #[serde(default, deserialize_with = "one_or_list")]
    pub ntp: Vec<NtpServer>,
    /// Whom it runs as.
    #[serde(default, deserialize_with = "parsed")]
    pub user: Option<User>,
    /// The directory it starts in.
    #[serde(default, deserialize_with = "parsed")]
    pub cwd: Option<OsString>,
    /// The guest's name.
    pub hostname: Option<String>,
    /// The directory tree that is the guest's `/`, as for `--root`.
    pub root: Option<PathBuf>,
    /// The files of the image are paged in from its disk, as for `--demand`.
    #[serde(default)]
    pub demand: bool,
    /// The image that `build` writes.
    pub output: Option<PathBuf>,
    /// Jobs that the guest starts beside its program.
    #[serde(default)]
    pub cron: Vec<cron::Settings>,
    /// Checks of its health, which the image carries.
    #[serde(default)]
    pub health: HealthArgs,
    /// How `run` starts it.
    #[serde(default)]
    pub run: RunSettings,
}

/// How `run` starts the guest.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Ports, as for `-p`.
    #[serde(default, deserialize_with = "parsed_list")]
    pub ports: Vec<Forward>,
    /// Memory, as for `-m`. The image carries it.
    #[serde(default, deserialize_with = "parsed")]
    pub memory: Option<Size>,
    /// CPUs.
    pub cpus: Option<u8>,
    /// The network, as for `--net`.
    #[serde(default, deserialize_with = "parsed")]
    pub net: Option<Network>,
    /// The socket device, as for `--vsock`.
    #[serde(default, deserialize_with = "parsed")]
    pub vsock: Option<VsockWish>,
    /// Volumes, as for `-v`.
    #[serde(default, deserialize_with = "parsed_list")]
    pub volumes: Vec<Spec>,
    /// The volume that takes what is changed in the image's files, as for `--root-volume`.
    #[serde(default, rename = "root-volume", deserialize_with = "source")]
    pub root_volume: Option<Source>,
    /// Directories in memory, as for `--tmpfs`.
    #[serde(default, deserialize_with = "parsed_list")]
    pub tmpfs: Vec<tmpfs::Spec>,
    /// When it starts again by itself, as for `--restart`.
    #[serde(default)]
    pub restart: Option<Restart>,
    /// Size of named volumes that are made, as for `--volume-size`.
    #[serde(default, rename = "volume-size", deserialize_with = "parsed")]
    pub volume_size: Option<Size>,
    /// What keeps the guest's lines, as for `--log-driver`.
    #[serde(default, rename = "log-driver", deserialize_with = "parsed")]
    pub log_driver: Option<Driver>,
    /// Options of it, as for `--log-opt`.
    #[serde(default, rename = "log-opt")]
    pub log_opt: BTreeMap<String, String>,
    /// A server that gets the guest's lines, as for `--syslog`.
    #[serde(default, deserialize_with = "parsed")]
    pub syslog: Option<Server>,
}

impl Settings {
    /// The settings that apply, with what the command line says about the content put over them.
    ///
    /// They come from the file that `--config` names, else from `Coracle.toml` here, else from nowhere. If the
    /// command line names another target, `Coracle.toml` speaks of a program that is not meant, and is not read.
    pub fn load(args: &ContentArgs, other_target: bool) -> Result<Self> {
        let mut settings = match &args.config {
            Some(path) => Self::read(path)?,
            None if !other_target && Path::new(FILE_NAME).exists() => Self::read(Path::new(FILE_NAME))?,
            None => Settings::default(),
        };
        settings.add.extend(args.add.iter().cloned());
        settings.exclude.extend(args.exclude.iter().cloned());
        for path in &args.env_file {
            settings.env.extend(environment::of_file(path)?);
        }
        settings.env.extend(args.env.iter().filter_map(|text| environment::variable(text)));
        settings.mode = args.mode.or(settings.mode);
        settings.control = args.control.or(settings.control);
        settings.metrics_port = args.metrics_port.or(settings.metrics_port);
        if !args.ntp.is_empty() {
            settings.ntp.clone_from(&args.ntp);
        }
        settings.user = args.user.or(settings.user);
        settings.cwd = args.cwd.clone().or(settings.cwd);
        settings.hostname = args.hostname.clone().or(settings.hostname);
        settings.root = args.root.clone().or(settings.root);
        settings.demand |= args.demand;
        settings.health = args.health.clone().over(settings.health);
        Ok(settings)
    }

    fn read(path: &Path) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(format!("the settings in `{}` cannot be used", path.display()))
                .why(why)
                .help("the guide lists what may stand there (docs, `Coracle.toml`)")
        };
        let text =
            String::from_utf8(error::read(path)?).map_err(|_| wrong("it is not text (UTF-8)".to_owned()))?;
        let mut settings: Settings = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if let Some(name) = &settings.hostname {
            hostname(name).map_err(wrong)?;
        }
        if settings.run.cpus.is_some_and(|cpus| !(1..=64).contains(&cpus)) {
            return Err(wrong("run.cpus is a number from 1 to 64".to_owned()));
        }
        // Paths are relative to the file, not to where the command is called.
        let base = path.parent().unwrap_or(Path::new(""));
        let under_base = |path: &OsStr| base.join(path).into_os_string();
        let has_root = settings.root.is_some();
        settings.root = settings.root.map(|root| base.join(root));
        settings.program = settings.program.map(|program| match bytes::is_path(&program) {
            // A path of the tree.
            true if has_root && Path::new(&program).is_absolute() => program,
            true => under_base(&program),
            false if base.join(&program).is_file() => under_base(Path::new(".").join(&program).as_os_str()),
            false => program,
        });
        settings.add.iter_mut().for_each(|add| *add = under_base(add));
        settings.cron.iter_mut().for_each(|job| job.put_under(base));
        settings.output = settings.output.map(|output| base.join(output));
        let sources = settings.run.volumes.iter_mut().map(|volume| &mut volume.source);
        for source in sources.chain(&mut settings.run.root_volume) {
            if let Source::File(file) = source {
                *file = base.join(&*file);
            }
        }
        Ok(settings)
    }
}

/// Reads a word by its type's `FromStr`.
fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Reads the name or the file of a volume.
fn source<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Source>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Source::parse(OsStr::new(&text)).map(Some).map_err(serde::de::Error::custom)
}

/// Reads a list of words by their type's `FromStr`.
fn parsed_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let words = Vec::<String>::deserialize(deserializer)?;
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

/// Reads a word, or a list of words, each of which is a value.
fn one_or_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        List(Vec<String>),
    }
    let words = match Words::deserialize(deserializer)? {
        Words::One(word) => vec![word],
        Words::List(words) => words,
    };
    words.iter().map(|word| word.parse().map_err(serde::de::Error::custom)).collect()
}

/// Reads a table of words as variables of the environment.
fn variables<'de, D>(deserializer: D) -> Result<BTreeMap<OsString, OsString>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let words = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(words.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}
