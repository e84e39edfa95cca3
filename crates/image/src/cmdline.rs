//! The kernel command line: words between blanks, values percent-encoded (RFC 3986, section 2.1).
//!
//! | word | meaning |
//! |---|---|
//! | `ip=dhcp`, `ip=none`, `ip=A.B.C.D/N` | how the first network card gets its address |
//! | `gw=A.B.C.D`, `dns=A.B.C.D` | gateway and name server (`dns` may be repeated) for a fixed address |
//! | `hostname=H` | name of the machine |
//! | `env=K=V` | adds to the environment, or replaces `K` there; may be repeated |
//! | `arg=A` | an argument; if any is given, they replace those of the image after `argv[0]` |
//! | `mode=unikernel`, `mode=protected` | overrides the mode of the image |
//! | `user=UID:GID` | overrides the user that the program runs as |
//! | `image=START:ARCHIVE` | the image's file is in read-only memory at START, and its archive at ARCHIVE, not behind the kernel |
//! | `virtio_mmio.device=SIZE@BASE:IRQ` | a virtio device (QEMU's microvm appends these) |
//! | `access=none`, `access=observe`, `access=full` | what may be asked of the guest over the port `control`; by default `observe` |
//! | `metrics=PORT` | the TCP port on which the guest serves its metrics |
//! | `ntp=HOST:PORT` | an NTP server that the guest sets its clock by; may be repeated: they are asked in this order |
//! | `syslog=udp://HOST:PORT`, `syslog=tcp://HOST:PORT`, `syslog=off` | the server that the guest sends its lines to, or that it sends none |
//! | `control=debugcon@PORT`, `control=serial` | the device of the control channel: at an I/O port, or the first serial port, which is then no console |
//! | `poweroff=isa-debug-exit@PORT` | port that ends the machine |
//! | `log=quiet`, `log=info`, `log=debug` | how much the kernel logs |
//! | `console=serial`, `console=virtio` | the device of the console [a virtio console without named ports, else the serial port] |
//! | `ports=NAME,NAME,…` | the ports of a virtio console that carry the standard streams and the control channel: [`Port`] |
//! | `window=ROWSxCOLUMNS` | the size of the terminal |
//! | `seed=HEX` | fixes the randomisation of addresses, for debugging |
//! | `volume=SERIAL:PATH`, `volume=SERIAL:PATH:ro` | mounts the ext4 file system on the disk with that serial number; may be repeated. A colon in PATH is written `%3A`. The volume at `/` takes what is changed in the image's files |
//! | `share=TAG:PATH:OPTIONS` | mounts the directory of the host with that mount tag by 9P or virtio-fs, as the device is, with options of mount(8) between commas; may be repeated |
//! | `tmpfs=PATH:OPTIONS` | mounts a file system in memory, with options of mount(8) and tmpfs(5) between commas; may be repeated |
//! | `secrets=fw_cfg` | QEMU's fw_cfg device has secrets for the program |
//! | `fail-alloc=N` | for tests: enables /proc/thread-self/fail-nth, and makes the program's N-th allocation in the kernel fail (0: none) |
//! | `recorder=on` | notes what the kernel does, for the report of a crash |
//! | `trace=wait` | the program waits until its system calls are traced over the port `control` |
//! | `core=wait` | a process that crashes waits until its core was dumped over the port `control` |
//! | `debug=wait` | the program waits for a debugger before its first instruction |
//! | `net=off` | ignore network cards |
//! | `patch=off` | in unikernel mode, leave the program's `syscall` instructions as they are |
//! | `reboot=k`, `reboot=t` | end a machine without a power switch by the keyboard controller, or by a triple fault |
//! | `console=ttyS0`, `console=hvc0` | Linux's names of `serial` and `virtio` |
//! | `panic=1`, `pci=off`, `root=…`, `ro`, `quiet`, … | words for Linux that other monitors add; they have no effect |
//!
//! Other words are collected in [`CommandLine::unknown`] for the log.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::{fmt, net::Ipv4Addr, str::FromStr};

use crate::{Access, Mode, NTP_PORT, Peer, SyslogServer, User};

/// How the first network card gets its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpSetting {
    /// Ask by DHCP.
    #[default]
    Dhcp,
    /// Leave the card without an address.
    None,
    /// Use this address; the number is the length of the network's prefix, 0 to 32.
    Static(Ipv4Addr, u8),
}

/// How much the kernel logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Warnings and failures only.
    #[default]
    Quiet,
    /// What was found and chosen, too.
    Info,
    /// Everything.
    Debug,
}

/// The device of the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// A virtio console if there is one, else the first serial port.
    #[default]
    Any,
    /// The first serial port.
    Serial,
    /// A virtio console.
    Virtio,
}

/// The device of the control channel, on which the kernel tells what it has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// QEMU's `isa-debugcon` at an I/O port.
    Debugcon(u16),
    /// The first serial port.
    Serial,
}

/// How a machine without a power switch is ended (Linux's `reboot=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// By the keyboard controller's reset line, as Firecracker wants it.
    Keyboard,
    /// By a triple fault, which ends QEMU's microvm with `-no-reboot`.
    TripleFault,
}

/// Words for Linux, or their part before `=`, that monitors and their manuals put on every command line.
const OF_LINUX: &[&[u8]] = &[
    b"acpi",
    b"earlycon",
    b"earlyprintk",
    b"init",
    b"loglevel",
    b"net.ifnames",
    b"no_timer_check",
    b"nomodule",
    b"nomodules",
    b"noreplace-smp",
    b"panic",
    b"pci",
    b"quiet",
    b"random.trust_cpu",
    b"ro",
    b"root",
    b"rootflags",
    b"rootfstype",
    b"rootwait",
    b"rw",
    b"swiotlb",
    b"tsc",
];
/// Beginnings of such words: settings of Linux's drivers.
const OF_LINUX_DRIVERS: &[&[u8]] = &[b"8250.", b"i8042."];

/// A port of a virtio console that `coracle run` connects separately. The device names each port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Signals, the size of the terminal, and requests, by the protocol of the crate `coracle-control`.
    Control,
    /// The terminal, for each standard stream that has no port of its own.
    Terminal,
    /// A terminal that is only written to: its lines are edited, and its keys mean signals, on the other side.
    Screen,
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
    /// Standard output and standard error in one stream, in the order in which they are written.
    Joint,
}

impl Port {
    /// All of them.
    pub const ALL: [Port; 7] =
        [Port::Control, Port::Terminal, Port::Screen, Port::Input, Port::Output, Port::Error, Port::Joint];

    /// The word for it in `ports=`.
    pub const fn word(self) -> &'static str {
        match self {
            Port::Control => "control",
            Port::Terminal => "terminal",
            Port::Screen => "screen",
            Port::Input => "input",
            Port::Output => "output",
            Port::Error => "error",
            Port::Joint => "joint",
        }
    }

    /// The device's name of it (virtio 1.2, section 5.3.6.2): `coracle.` and the word.
    pub const fn name(self) -> &'static str {
        match self {
            Port::Control => "coracle.control",
            Port::Terminal => "coracle.terminal",
            Port::Screen => "coracle.screen",
            Port::Input => "coracle.input",
            Port::Output => "coracle.output",
            Port::Error => "coracle.error",
            Port::Joint => "coracle.joint",
        }
    }
}

/// A virtio device behind memory-mapped registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioDevice {
    /// Bytes of registers.
    pub size: u64,
    /// Physical address of the first.
    pub base: u64,
    /// Interrupt line.
    pub irq: u32,
}

/// A file system of a disk, and where it is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The disk's serial number.
    pub serial: Vec<u8>,
    /// The directory, an absolute path.
    pub path: Vec<u8>,
    /// Nothing may be changed.
    pub read_only: bool,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// The directory, an absolute path.
    pub path: Vec<u8>,
    /// Options of mount(8) and tmpfs(5), with commas between them.
    pub options: Vec<u8>,
}

/// A directory of the host, and where it is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The device's mount tag.
    pub tag: Vec<u8>,
    /// The directory, an absolute path.
    pub path: Vec<u8>,
    /// Options of mount(8), with commas between them.
    pub options: Vec<u8>,
}

impl Share {
    fn parse(encoded: &[u8]) -> Option<Self> {
        let mut parts = encoded.splitn(3, |&byte| byte == b':').map(decode);
        let (tag, path, options) = (parts.next()?, parts.next()?, parts.next()?);
        path.starts_with(b"/").then_some(Share { tag, path, options })
    }
}

impl Tmpfs {
    fn parse(encoded: &[u8]) -> Option<Self> {
        let at = encoded.iter().position(|&byte| byte == b':')?;
        let (path, options) = (decode(&encoded[..at]), decode(&encoded[at + 1..]));
        path.starts_with(b"/").then_some(Tmpfs { path, options })
    }
}

/// The path of the volume that takes what is changed in the image's files.
const ROOT: &[u8] = b"/";

impl CommandLine {
    /// The volume that takes what is changed in the image's files.
    pub fn root_volume(&self) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.path == ROOT)
    }
}

/// What stands behind the path of a volume that is read only.
const READ_ONLY_SUFFIX: &str = ":ro";

impl Volume {
    fn parse(encoded: &[u8]) -> Option<Self> {
        let (encoded, read_only) = match encoded.strip_suffix(READ_ONLY_SUFFIX.as_bytes()) {
            Some(rest) => (rest, true),
            None => (encoded, false),
        };
        let at = encoded.iter().position(|&byte| byte == b':')?;
        let (serial, path) = (decode(&encoded[..at]), decode(&encoded[at + 1..]));
        path.starts_with(b"/").then_some(Volume { serial, path, read_only })
    }
}

/// Where the machine has mapped an image's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePlace {
    /// Physical address of its first byte.
    pub start: u64,
    /// Physical address of its archive, which reaches to its end.
    pub archive: u64,
}

impl ImagePlace {
    /// The last such word of a command line; needs no memory, for the kernel's first steps.
    pub fn find(line: &[u8]) -> Option<Self> {
        let mut words = line.split(u8::is_ascii_whitespace).rev();
        let value = words.find_map(|word| word.strip_prefix(b"image="))?;
        core::str::from_utf8(value).ok()?.parse().ok()
    }
}

impl fmt::Display for ImagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}:{:#x}", self.start, self.archive)
    }
}

impl FromStr for ImagePlace {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (start, archive) = text.split_once(':').ok_or(ParseError)?;
        let number = |text| number(text).ok_or(ParseError);
        Ok(ImagePlace { start: number(start)?, archive: number(archive)? })
    }
}

/// The settings of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `ip=`; `None` if nothing is said.
    pub ip: Option<IpSetting>,
    /// `gw=`
    pub gateway: Option<Ipv4Addr>,
    /// `dns=`
    pub dns: Vec<Ipv4Addr>,
    /// `hostname=`
    pub hostname: Option<String>,
    /// `env=`, each as `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// `arg=`: the arguments after `argv[0]`; empty means those of the image.
    pub args: Vec<Vec<u8>>,
    /// `mode=`
    pub mode: Option<Mode>,
    /// `user=`
    pub user: Option<User>,
    /// `image=`
    pub image: Option<ImagePlace>,
    /// `virtio_mmio.device=`
    pub mmio_devices: Vec<MmioDevice>,
    /// `access=`
    pub access: Access,
    /// `metrics=`: a TCP port.
    pub metrics_port: Option<u16>,
    /// `ntp=`
    pub ntp: Vec<Peer>,
    /// `syslog=`; `Some(None)`: `off`.
    pub syslog: Option<Option<SyslogServer>>,
    /// `control=`
    pub control: Option<Control>,
    /// `poweroff=isa-debug-exit@`: an I/O port.
    pub poweroff: Option<u16>,
    /// `log=`
    pub log: LogLevel,
    /// `console=`
    pub console: Console,
    /// `ports=`
    pub ports: Vec<Port>,
    /// `window=`: rows and columns.
    pub window: Option<(u16, u16)>,
    /// `seed=`
    pub seed: Option<u64>,
    /// `volume=`
    pub volumes: Vec<Volume>,
    /// `share=`
    pub shares: Vec<Share>,
    /// `tmpfs=`
    pub tmpfs: Vec<Tmpfs>,
    /// `secrets=fw_cfg`
    pub secrets: bool,
    /// `fail-alloc=`
    pub fail_alloc: Option<u64>,
    /// `recorder=on`
    pub recorder: bool,
    /// `trace=wait`
    pub trace: bool,
    /// `core=wait`
    pub core: bool,
    /// `debug=wait`
    pub debug: bool,
    /// `net=off`
    pub net_off: bool,
    /// `patch=off`
    pub patch_off: bool,
    /// `reboot=`
    pub reboot: Option<Reboot>,
    /// Words that were not understood.
    pub unknown: Vec<String>,
}

impl CommandLine {
    /// Reads a command line. Never fails: what is not understood lands in [`CommandLine::unknown`].
    pub fn parse(line: &[u8]) -> Self {
        let mut this = CommandLine::default();
        let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
        for word in line[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            if this.take(word).is_none() && !is_of_linux(word) {
                this.unknown.push(String::from_utf8_lossy(word).into_owned());
            }
        }
        this
    }

    /// Takes one word; `None` if it means nothing.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        let split = word.iter().position(|&byte| byte == b'=')?;
        let (key, encoded) = (&word[..split], &word[split + 1..]);
        let value = decode(encoded);
        let text = || core::str::from_utf8(&value).ok();
        match key {
            b"ip" => self.ip = Some(text()?.parse().ok()?),
            b"gw" => self.gateway = Some(text()?.parse().ok()?),
            b"dns" => self.dns.push(text()?.parse().ok()?),
            b"hostname" => self.hostname = Some(text()?.to_owned()),
            b"env" => self.env.push(value),
            b"arg" => self.args.push(value),
            b"mode" => self.mode = Some(text()?.parse().ok()?),
            b"user" => self.user = Some(text()?.parse().ok()?),
            b"image" => self.image = Some(text()?.parse().ok()?),
            b"virtio_mmio.device" => self.mmio_devices.push(text()?.parse().ok()?),
            b"access" => self.access = text()?.parse().ok()?,
            b"metrics" => self.metrics_port = Some(text()?.parse().ok()?),
            b"ntp" => self.ntp.push(Peer::parse(text()?, NTP_PORT)?),
            b"syslog" => {
                self.syslog = Some(match text()? {
                    "off" => None,
                    server => Some(SyslogServer::parse(server)?),
                });
            }
            b"control" => {
                self.control = Some(match text()? {
                    "serial" => Control::Serial,
                    device => Control::Debugcon(port(device, "debugcon@")?),
                });
            }
            b"poweroff" => self.poweroff = Some(port(text()?, "isa-debug-exit@")?),
            b"log" => {
                self.log = match text()? {
                    "quiet" => LogLevel::Quiet,
                    "info" => LogLevel::Info,
                    "debug" => LogLevel::Debug,
                    _ => return None,
                }
            }
            b"console" => {
                self.console = match text()? {
                    "serial" => Console::Serial,
                    "virtio" | "hvc0" => Console::Virtio,
                    // The speed may follow: `ttyS0,115200n8`.
                    linux if linux.split(',').next() == Some("ttyS0") => Console::Serial,
                    _ => return None,
                }
            }
            b"reboot" => {
                // Linux knows further letters, and a mode before them; the first letter that means something counts.
                self.reboot = text()?.split(',').find_map(|kind| match kind {
                    "k" | "kbd" => Some(Reboot::Keyboard),
                    "t" | "triple" => Some(Reboot::TripleFault),
                    _ => None,
                })
            }
            b"ports" => {
                let port = |word| Port::ALL.into_iter().find(|port| port.word() == word);
                self.ports = text()?.split(',').map(port).collect::<Option<_>>()?;
            }
            b"window" => {
                let (rows, columns) = text()?.split_once('x')?;
                self.window = Some((rows.parse().ok()?, columns.parse().ok()?));
            }
            b"seed" => self.seed = Some(u64::from_str_radix(text()?.trim_start_matches("0x"), 16).ok()?),
            b"volume" => self.volumes.push(Volume::parse(encoded)?),
            b"share" => self.shares.push(Share::parse(encoded)?),
            b"tmpfs" => self.tmpfs.push(Tmpfs::parse(encoded)?),
            b"secrets" if value == b"fw_cfg" => self.secrets = true,
            b"fail-alloc" => self.fail_alloc = Some(text()?.parse().ok()?),
            b"recorder" if value == b"on" => self.recorder = true,
            b"trace" if value == b"wait" => self.trace = true,
            b"core" if value == b"wait" => self.core = true,
            b"debug" if value == b"wait" => self.debug = true,
            b"net" if value == b"off" => self.net_off = true,
            b"patch" if value == b"off" => self.patch_off = true,
            _ => return None,
        }
        Some(())
    }
}

/// Whether a word is one that Linux would understand and that means nothing here.
fn is_of_linux(word: &[u8]) -> bool {
    let key = word.split(|&byte| byte == b'=').next().unwrap_or(word);
    OF_LINUX.contains(&key) || OF_LINUX_DRIVERS.iter().any(|beginning| key.starts_with(beginning))
}

impl fmt::Display for CommandLine {
    /// The words that [`CommandLine::parse`] reads back to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Words { f, first: true };
        if let Some(ip) = &self.ip {
            words.put("ip", format_args!("{ip}"))?;
        }
        if let Some(gateway) = &self.gateway {
            words.put("gw", format_args!("{gateway}"))?;
        }
        for dns in &self.dns {
            words.put("dns", format_args!("{dns}"))?;
        }
        if let Some(name) = &self.hostname {
            words.put("hostname", format_args!("{}", Encoded(name.as_bytes())))?;
        }
        for var in &self.env {
            words.put("env", format_args!("{}", Encoded(var)))?;
        }
        for arg in &self.args {
            words.put("arg", format_args!("{}", Encoded(arg)))?;
        }
        if let Some(mode) = self.mode {
            words.put("mode", format_args!("{mode}"))?;
        }
        if let Some(user) = self.user {
            words.put("user", format_args!("{user}"))?;
        }
        if let Some(place) = self.image {
            words.put("image", format_args!("{place}"))?;
        }
        for device in &self.mmio_devices {
            words.put("virtio_mmio.device", format_args!("{device}"))?;
        }
        if self.access != Access::default() {
            words.put("access", format_args!("{}", self.access))?;
        }
        if let Some(port) = self.metrics_port {
            words.put("metrics", format_args!("{port}"))?;
        }
        for server in &self.ntp {
            words.put("ntp", format_args!("{server}"))?;
        }
        match &self.syslog {
            Some(Some(server)) => words.put("syslog", format_args!("{server}"))?,
            Some(None) => words.put("syslog", format_args!("off"))?,
            None => {}
        }
        match self.control {
            Some(Control::Debugcon(port)) => words.put("control", format_args!("debugcon@{port:#x}"))?,
            Some(Control::Serial) => words.put("control", format_args!("serial"))?,
            None => {}
        }
        if let Some(port) = self.poweroff {
            words.put("poweroff", format_args!("isa-debug-exit@{port:#x}"))?;
        }
        match self.log {
            LogLevel::Quiet => {}
            LogLevel::Info => words.put("log", format_args!("info"))?,
            LogLevel::Debug => words.put("log", format_args!("debug"))?,
        }
        match self.console {
            Console::Any => {}
            Console::Serial => words.put("console", format_args!("serial"))?,
            Console::Virtio => words.put("console", format_args!("virtio"))?,
        }
        if !self.ports.is_empty() {
            words.put("ports", format_args!("{}", PortList(&self.ports)))?;
        }
        if let Some((rows, columns)) = self.window {
            words.put("window", format_args!("{rows}x{columns}"))?;
        }
        if let Some(seed) = self.seed {
            words.put("seed", format_args!("{seed:x}"))?;
        }
        for Volume { serial, path, read_only } in &self.volumes {
            let flags = if *read_only { READ_ONLY_SUFFIX } else { "" };
            words.put("volume", format_args!("{}:{}{flags}", Part(serial), Part(path)))?;
        }
        for Share { tag, path, options } in &self.shares {
            words.put("share", format_args!("{}:{}:{}", Part(tag), Part(path), Part(options)))?;
        }
        for Tmpfs { path, options } in &self.tmpfs {
            words.put("tmpfs", format_args!("{}:{}", Part(path), Part(options)))?;
        }
        if self.secrets {
            words.put("secrets", format_args!("fw_cfg"))?;
        }
        if let Some(nth) = self.fail_alloc {
            words.put("fail-alloc", format_args!("{nth}"))?;
        }
        if self.recorder {
            words.put("recorder", format_args!("on"))?;
        }
        if self.trace {
            words.put("trace", format_args!("wait"))?;
        }
        if self.core {
            words.put("core", format_args!("wait"))?;
        }
        if self.debug {
            words.put("debug", format_args!("wait"))?;
        }
        if self.net_off {
            words.put("net", format_args!("off"))?;
        }
        if self.patch_off {
            words.put("patch", format_args!("off"))?;
        }
        match self.reboot {
            None => {}
            Some(Reboot::Keyboard) => words.put("reboot", format_args!("k"))?,
            Some(Reboot::TripleFault) => words.put("reboot", format_args!("t"))?,
        }
        self.unknown.iter().try_for_each(|word| words.raw(word))
    }
}

/// Puts blanks between words.
struct Words<'f, 'b> {
    f: &'f mut fmt::Formatter<'b>,
    first: bool,
}

impl Words<'_, '_> {
    fn put(&mut self, key: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        self.raw("")?;
        write!(self.f, "{key}={value}")
    }

    fn raw(&mut self, word: &str) -> fmt::Result {
        if !core::mem::take(&mut self.first) {
            self.f.write_str(" ")?;
        }
        self.f.write_str(word)
    }
}

/// Ports between commas.
struct PortList<'a>(&'a [Port]);

impl fmt::Display for PortList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, port) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(port.word())?;
        }
        Ok(())
    }
}

impl fmt::Display for IpSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpSetting::Dhcp => f.write_str("dhcp"),
            IpSetting::None => f.write_str("none"),
            IpSetting::Static(address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

/// The text was not what its place asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError;

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not understood")
    }
}

impl core::error::Error for ParseError {}

impl FromStr for IpSetting {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        /// Bits of an IPv4 address.
        const BITS: u8 = 32;
        match text {
            "dhcp" => Ok(IpSetting::Dhcp),
            "none" => Ok(IpSetting::None),
            _ => {
                let (address, prefix) = text.split_once('/').ok_or(ParseError)?;
                let prefix = prefix.parse().ok().filter(|&bits| bits <= BITS).ok_or(ParseError)?;
                Ok(IpSetting::Static(address.parse().map_err(|_| ParseError)?, prefix))
            }
        }
    }
}

impl fmt::Display for MmioDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:#x}:{}", self.size, self.base, self.irq)
    }
}

impl FromStr for MmioDevice {
    type Err = ParseError;

    /// As Linux reads it: `<size>[KMG]@<base>:<irq>[:<id>]`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (size, rest) = text.split_once('@').ok_or(ParseError)?;
        let (base, rest) = rest.split_once(':').ok_or(ParseError)?;
        let irq = rest.split(':').next().unwrap_or(rest);
        let number = |text| number(text).ok_or(ParseError);
        Ok(MmioDevice {
            size: number(size)?,
            base: number(base)?,
            irq: number(irq)?.try_into().map_err(|_| ParseError)?,
        })
    }
}

/// A number in decimal or, after `0x`, hexadecimal, with a suffix K, M or G for powers of 1024.
fn number(text: &str) -> Option<u64> {
    let (text, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let value = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    value.ok()?.checked_mul(1 << shift)
}

/// The port after `device`, as `debugcon@0xe9`.
fn port(text: &str, device: &str) -> Option<u16> {
    number(text.strip_prefix(device)?)?.try_into().ok()
}

/// The encoding of bytes in a value: letters, digits and harmless marks as they are, the rest as `%XX`.
pub struct Encoded<'a>(pub &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            if byte.is_ascii_alphanumeric() || b"-._~/=:,@+".contains(&byte) {
                write!(f, "{}", byte as char)?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// The encoding of a part of a value whose parts colons set apart: its own are encoded.
struct Part<'a>(&'a [u8]);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split(|&byte| byte == b':').enumerate().try_for_each(|(index, part)| {
            f.write_str(if index == 0 { "" } else { "%3A" })?;
            write!(f, "{}", Encoded(part))
        })
    }
}

/// The bytes that a value encodes. A `%` without two hexadecimal digits after it is literal.
pub fn decode(value: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| (byte as char).to_digit(16));
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match (byte, digit(value.get(at + 1)), digit(value.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}
