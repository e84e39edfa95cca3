//! The machine that was chosen, and the QEMU command that makes it.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use coracle_control::Window;
use coracle_image::Mode;
use coracle_image::cmdline::{CommandLine, Console, Control, ImagePlace, IpSetting, Port};

use super::virtiofsd::Served;
use super::vsock::Device;
use crate::args::DiskInterface;
use crate::args::{ConsoleKind, Machine};
use crate::net::{Cidr, Forward, Network};
use crate::size::{MIB, Size};
use crate::volume::Attached;
use crate::volume::share::Shared;

/// The I/O port of the control channel, where there are such ports.
const CONTROL_PORT: u16 = 0xe9;
/// The I/O port that ends the machine.
const POWEROFF_PORT: u16 = 0x501;
/// The guest's place in QEMU's user network, unless another is asked for.
const USER_NETWORK: Cidr = Cidr { address: Ipv4Addr::new(10, 0, 2, 15), prefix: 24 };
/// Hosts of QEMU's user network: its gateway and its name server.
const USER_GATEWAY: u32 = 2;
const USER_DNS: u32 = 3;

/// The serial number of the disk with the files of an image that are paged in.
const IMAGE_SERIAL: &str = "coracle-image";

/// What QEMU forbids itself (seccomp(2)): system calls that are obsolete, that gain rights, that start programs, and
/// that change its own priority. A guest that breaks out of the virtual machine finds only what is left.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The guest's clock counts instructions, 8 ns for each, which is about what QEMU's translator makes of them. While the guest waits
/// (`sleep=on`, which is QEMU's own choice), its clock follows the host's.
const ICOUNT: &str = "shift=3";

/// A machine to start.
#[derive(Debug)]
pub struct Plan {
    /// QEMU.
    pub qemu: PathBuf,
    /// What the image is called.
    pub name: String,
    /// The file that QEMU loads: the image, or its kernel alone.
    pub kernel: PathBuf,
    /// The file of the image that the guest's memory has mapped, if the kernel is loaded alone.
    pub mapped: Option<Mapped>,
    /// The image's file, if its files are paged in from it: a disk of the guest.
    pub image_disk: Option<PathBuf>,
    /// Memory.
    pub memory: Size,
    /// CPUs.
    pub cpus: u8,
    /// Machine type.
    pub machine: Machine,
    /// `kvm` or `tcg`.
    pub accel: &'static str,
    /// What the network card is connected to.
    pub network: Network,
    /// The guest's address, if one was asked for.
    pub ip: Option<Cidr>,
    /// Its gateway and name server, if they were.
    pub gateway: Option<Ipv4Addr>,
    /// See `gateway`.
    pub dns: Option<Ipv4Addr>,
    /// Ports that lead to the guest.
    pub forwards: Vec<Forward>,
    /// What carries the standard streams.
    pub console: ConsoleKind,
    /// Whether the guest may reach the host's own loopback addresses.
    pub host_loopback: bool,
    /// Volumes.
    pub volumes: Vec<Attached>,
    /// The interface of their disks.
    pub disk_interface: DiskInterface,
    /// Directories of the host.
    pub shares: Vec<Shared>,
    /// What serves some of them.
    pub served: Vec<Served>,
    /// The socket device.
    pub vsock: Option<Device>,
    /// Words for the kernel, as far as they do not follow from the machine.
    pub words: CommandLine,
    /// The file with the program's secrets.
    pub secrets: Option<PathBuf>,
    /// The Unix socket on which QEMU's own server for gdb listens.
    pub gdb: Option<PathBuf>,
    /// What follows QEMU's `-plugin`: it counts instructions.
    pub plugin: Option<String>,
    /// More arguments for QEMU.
    pub extra: Vec<OsString>,
}

/// An image whose file is a part of the guest's memory, read-only, so that all its guests share the pages of one file.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// The file.
    pub file: PathBuf,
    /// Bytes of it: whole pages.
    pub len: u64,
    /// Where its kernel ends in it and its archive begins.
    pub kernel_len: u64,
    /// The physical address at which it is mapped: whole pages.
    pub address: u64,
}

impl Mapped {
    /// Memory of the machine in whole units of this many bytes, which every part of QEMU and of its firmware can count.
    const UNIT: u64 = 64 << 10;

    /// Adds memory in three pieces: below the file, the file, and above it, so much that the guest has `memory` beside the
    /// kernel in the file, which it cannot use. Returns all of it.
    fn put(&self, memory: Size, out: &mut Words) -> Size {
        let total = (memory.0 + self.kernel_len).next_multiple_of(Self::UNIT);
        let ram = |id, size| format!("memory-backend-ram,id={id},size={size}");
        let mut file = OsString::from("memory-backend-file,id=image,mem-path=");
        file.push(escaped(self.file.as_os_str()));
        file.push(format!(",size={},share=off,readonly=on", self.len));
        out.put(&["-object", &ram("low", self.address)]);
        out.put(&["-object"]);
        out.push(file);
        out.put(&["-object", &ram("high", total - self.address - self.len)]);
        // Nodes of a machine with non-uniform memory are how QEMU makes memory of several pieces; the guest pays no heed.
        out.put(&["-numa", "node,memdev=low", "-numa", "node,memdev=image", "-numa", "node,memdev=high"]);
        Size(total)
    }
}

/// Arguments of QEMU.
#[derive(Debug, Default)]
struct Words(Vec<OsString>);

impl Words {
    fn put(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn push(&mut self, word: OsString) {
        self.0.push(word);
    }
}

/// How QEMU speaks to the outside.
#[derive(Clone, Copy, Debug)]
pub enum Channels<'a> {
    /// The serial port on QEMU's own standard streams, and the kernel's words among the program's: for people.
    Terminal,
    /// What this command serves.
    Command {
        /// The kernel's words go to this file descriptor.
        log: RawFd,
        /// The ports of the virtio console, each with the file descriptor of the socket that it is connected to.
        ports: &'a [(Port, RawFd)],
        /// The size of the terminal.
        window: Option<Window>,
        /// QEMU's monitor is on the socket with this file descriptor.
        monitor: RawFd,
    },
}

impl Plan {
    /// The words for the kernel.
    fn command_line(&self, channels: Channels<'_>) -> String {
        let mut words = self.words.clone();
        match self.network {
            // The user network's addresses are known beforehand: asking for them by DHCP would only take time.
            Network::User => {
                let place = self.user_address();
                words.ip = Some(IpSetting::Static(place.address, place.prefix));
                words.gateway = self.gateway.or(Some(place.host(USER_GATEWAY)));
                words.dns = vec![self.dns.unwrap_or(place.host(USER_DNS))];
            }
            Network::Tap(_) => {
                words.ip =
                    Some(self.ip.map_or(IpSetting::Dhcp, |ip| IpSetting::Static(ip.address, ip.prefix)));
                words.gateway = self.gateway;
                words.dns = self.dns.into_iter().collect();
            }
            Network::None => words.ip = Some(IpSetting::None),
        }
        words.volumes = self.volumes.iter().map(|attached| attached.volume.clone()).collect();
        words.shares = self.shares.iter().map(|shared| shared.share.clone()).collect();
        words.secrets = self.secrets.is_some();
        words.poweroff = self.has_ports().then_some(POWEROFF_PORT);
        words.image = self
            .mapped
            .as_ref()
            .map(|image| ImagePlace { start: image.address, archive: image.address + image.kernel_len });
        match channels {
            Channels::Terminal => words.console = Console::Serial,
            Channels::Command { ports, window, .. } => {
                words.control = Some(match self.has_ports() {
                    true => Control::Debugcon(CONTROL_PORT),
                    false => Control::Serial,
                });
                words.console = match self.console {
                    ConsoleKind::Serial => Console::Serial,
                    ConsoleKind::Virtio => Console::Virtio,
                };
                words.ports = ports.iter().map(|(port, _)| *port).collect();
                words.window = window.map(|window| (window.rows, window.columns));
            }
        }
        words.to_string()
    }

    /// Whether the guest has something to write back at its end.
    pub fn has_writable_volumes(&self) -> bool {
        self.volumes.iter().any(|attached| !attached.volume.read_only)
            || self.shares.iter().any(|shared| !shared.read_only)
    }

    /// Whether other programs than QEMU have the guest's memory: then it is one file in memory.
    pub fn shares_memory(&self) -> bool {
        self.vsock.as_ref().is_some_and(Device::shares_memory) || !self.served.is_empty()
    }

    /// Whether the machine has I/O ports.
    fn has_ports(&self) -> bool {
        self.machine != Machine::Virt
    }

    fn user_address(&self) -> Cidr {
        self.ip.unwrap_or(USER_NETWORK)
    }

    /// QEMU's arguments.
    pub fn arguments(&self, channels: Channels<'_>) -> Vec<OsString> {
        let mut out = Words::default();
        let machine = match self.machine {
            Machine::Microvm => {
                // With ACPI, which says where PCI Express is.
                "microvm,acpi=on,pcie=on,rtc=on,pit=off,pic=off,isa-serial=on"
            }
            // The newest interrupt controller that the accelerator has.
            Machine::Virt => "virt,gic-version=max",
            other => other.name(),
        };
        let backend = if self.shares_memory() { ",memory-backend=memory" } else { "" };
        out.put(&["-machine", &format!("{machine}{backend}"), "-accel", self.accel]);
        let emulated = match self.machine {
            // The translator takes long for the architected algorithm of pointer authentication.
            Machine::Virt => "max,pauth-impdef=on",
            // QEMU counts no instructions where an x2APIC's timer is set (seen with 10.0: "Bad icount read").
            _ if self.plugin.is_some() => "max,-x2apic",
            _ => "max",
        };
        out.put(&["-cpu", if self.accel == "kvm" { "host" } else { emulated }]);
        let total = self.mapped.as_ref().map_or(self.memory, |image| image.put(self.memory, &mut out));
        if self.shares_memory() {
            out.put(&["-object", &format!("memory-backend-memfd,id=memory,share=on,size={}", memory(total))]);
        }
        out.put(&["-smp", &self.cpus.to_string(), "-m", &memory(total)]);
        out.put(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        match self.machine {
            // The firmware of this machine without ACPI, which does less than the other.
            Machine::Microvm => out.put(&["-bios", "qboot.rom"]),
            Machine::Q35 | Machine::Pc => out.put(&["-vga", "none"]),
            Machine::Virt => out.put(&["-global", "virtio-mmio.force-legacy=false"]),
        }
        match channels {
            Channels::Terminal => out.put(&["-serial", "stdio"]),
            Channels::Command { log, ports, monitor, .. } => {
                out.put(&["-chardev", &format!("file,id=log,path=/dev/fd/{log}")]);
                out.put(&["-chardev", &format!("socket,id=monitor,fd={monitor}")]);
                out.put(&["-mon", "chardev=monitor,mode=control"]);
                if self.has_ports() {
                    out.put(&["-device", &format!("isa-debugcon,iobase={CONTROL_PORT:#x},chardev=log")]);
                } else {
                    out.put(&["-serial", "chardev:log"]);
                }
                if self.console == ConsoleKind::Serial {
                    out.put(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
                }
                // Port 0 is for consoles, which lose what a slow reader does not take; the others wait for it.
                out.put(&["-device", &format!("{},max_ports={}", self.virtio("serial"), ports.len() + 1)]);
                for (index, (port, fd)) in ports.iter().enumerate() {
                    let word = port.word();
                    out.put(&["-chardev", &format!("socket,id={word},fd={fd}")]);
                    let (name, number) = (port.name(), index + 1);
                    out.put(&["-device", &format!("virtserialport,chardev={word},name={name},nr={number}")]);
                }
            }
        }
        if self.has_ports() {
            out.put(&["-device", &format!("isa-debug-exit,iobase={POWEROFF_PORT:#x},iosize=4")]);
        }
        out.put(&["-object", "rng-builtin,id=rng", "-device", &format!("{},rng=rng", self.virtio("rng"))]);
        for attached in &self.volumes {
            let serial = String::from_utf8_lossy(&attached.volume.serial);
            self.disk((&attached.file, &serial, attached.volume.read_only), self.disk_interface, &mut out);
        }
        // The last of them, so that the others have the names that they have without it.
        if let Some(file) = &self.image_disk {
            self.disk((file, IMAGE_SERIAL, true), DiskInterface::Virtio, &mut out);
        }
        for shared in self.shares.iter().filter(|shared| !shared.by_virtiofs) {
            self.directory(shared, &mut out);
        }
        for served in &self.served {
            out.0.extend(served.arguments(self.bus()));
        }
        if let Some(device) = &self.vsock {
            out.0.extend(device.arguments(self.bus()));
        }
        match &self.network {
            Network::None => {}
            Network::User => {
                let place = self.user_address();
                let mut netdev = format!("user,id=net,net={}/{}", place.network(), place.prefix);
                for forward in &self.forwards {
                    netdev += &format!(
                        ",hostfwd={}:{}:{}-{}:{}",
                        forward.protocol, forward.address, forward.host, place.address, forward.guest
                    );
                }
                out.put(&["-netdev", &netdev, "-device", &format!("{},netdev=net", self.virtio("net"))]);
            }
            Network::Tap(name) => {
                out.put(&["-netdev", &format!("tap,id=net,ifname={name},script=no,downscript=no")]);
                let card = format!("{},netdev=net,mac={}", self.virtio("net"), mac(name));
                out.put(&["-device", &card]);
            }
        }
        if let Some(path) = &self.secrets {
            out.put(&["-fw_cfg", &format!("name={},file={}", coracle_image::secrets::ITEM, path.display())]);
        }
        if let Some(socket) = &self.gdb {
            let mut device = OsString::from("socket,id=gdb,path=");
            device.push(escaped(socket.as_os_str()));
            device.push(",server=on,wait=off");
            out.put(&["-chardev"]);
            out.push(device);
            out.put(&["-gdb", "chardev:gdb"]);
        }
        if let Some(plugin) = &self.plugin {
            out.put(&["-plugin", plugin, "-icount", ICOUNT]);
        }
        if !self.extra.iter().any(|word| word == "-sandbox") {
            out.put(&["-sandbox", SANDBOX]);
        }
        out.put(&["-kernel"]);
        out.push(self.kernel.clone().into());
        out.put(&["-append", &self.command_line(channels)]);
        out.0.extend(self.extra.iter().cloned());
        out.0
    }

    /// A disk: its file, its serial number, and whether it can only be read. What the guest flushes, QEMU has the host write to its disk (`cache=writeback`). Blocks that the guest frees are
    /// given back to the host. Errors of the host, such as a full disk, are reported to the guest, which would otherwise stop.
    fn disk(
        &self,
        (file, serial, read_only): (&Path, &str, bool),
        interface: DiskInterface,
        out: &mut Words,
    ) {
        let access = if read_only { "on" } else { "off" };
        let mut drive = OsString::from("file=");
        drive.push(escaped(file.as_os_str()));
        drive.push(format!(
        ",if=none,id={serial},format=raw,read-only={access},cache=writeback,discard=unmap,werror=report,rerror=report"
    ));
        out.put(&["-drive"]);
        out.push(drive);
        let device = match interface {
            DiskInterface::Virtio => self.virtio("blk"),
            DiskInterface::Nvme => "nvme".to_owned(),
        };
        out.put(&["-device", &format!("{device},drive={serial},serial={serial}")]);
    }

    /// A directory of the host that QEMU itself serves. Owners are kept if QEMU can set them; else all that the guest makes belongs to QEMU's user. `multidevs`: files of
    /// different file systems of the host have different numbers.
    fn directory(&self, shared: &Shared, out: &mut Words) {
        let tag = String::from_utf8_lossy(&shared.share.tag);
        let model = if rustix::process::geteuid().is_root() { "passthrough" } else { "none" };
        let mut device = OsString::from("local,path=");
        device.push(escaped(shared.directory.as_os_str()));
        device.push(format!(",id={tag},security_model={model},multidevs=remap"));
        if shared.read_only {
            device.push(",readonly=on");
        }
        out.put(&["-fsdev"]);
        out.push(device);
        out.put(&["-device", &format!("{},fsdev={tag},mount_tag={tag}", self.virtio("9p"))]);
    }

    /// What a device of QEMU's is called, and how it is set, for its bus.
    fn bus(&self) -> &'static str {
        // Registers in memory: the kernel has no interrupts of PCI there.
        if self.machine == Machine::Virt { "device" } else { "pci,disable-legacy=on" }
    }

    /// A virtio device.
    fn virtio(&self, device: &str) -> String {
        // Without an option ROM, which only firmware that boots from the network would run.
        let rom = if device == "net" && self.machine != Machine::Virt { ",romfile=" } else { "" };
        format!("virtio-{device}-{}{rom}", self.bus())
    }

    /// The whole command for a shell.
    pub fn shell_command(&self, channels: Channels<'_>) -> String {
        let mut words = vec![quoted(self.qemu.as_os_str().as_bytes())];
        words.extend(self.arguments(channels).iter().map(|word| quoted(word.as_bytes())));
        words.join(" ")
    }

    /// What was chosen, in a few words.
    pub fn summary(&self, mode: Mode, accel_reason: &str) -> String {
        let mut text = format!(
            "{} ({mode} mode) on {}, {} ({accel_reason}), {} CPU{}, {}",
            self.name,
            self.machine.name(),
            self.accel,
            self.cpus,
            if self.cpus == 1 { "" } else { "s" },
            self.memory,
        );
        match &self.network {
            Network::User => text += ", user network",
            Network::Tap(name) => text += &format!(", network on {name}"),
            Network::None => text += ", no network",
        }
        for attached in &self.volumes {
            text += &format!(", a volume at {}", String::from_utf8_lossy(&attached.volume.path));
        }
        for Shared { directory, share, .. } in &self.shares {
            text += &format!(", {} at {}", directory.display(), String::from_utf8_lossy(&share.path));
        }
        if let Some(device) = &self.vsock {
            text += &format!(", {}", device.summary());
        }
        for Forward { address, host, guest, protocol } in &self.forwards {
            text += &format!(", {address}:{host} leads to {guest}/{protocol}");
        }
        text
    }
}

/// A value among QEMU's options: commas are doubled.
fn escaped(value: &OsStr) -> OsString {
    let double = |byte: &u8| std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 });
    OsString::from_vec(value.as_bytes().iter().flat_map(double).collect())
}

/// An amount of memory for `-m`.
fn memory(size: Size) -> String {
    if size.0.is_multiple_of(MIB) {
        format!("{}M", size.0 / MIB)
    } else {
        format!("{}k", size.0.div_ceil(1024))
    }
}

/// A hardware address of its own for each tap device: several guests may share one bridge. In QEMU's range
/// 52:54:00, the rest from the device's name (FNV-1a).
fn mac(tap: &str) -> String {
    let hash =
        tap.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, a, b, c] = hash.to_be_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

/// A word as a shell reads it back; one that is not UTF-8 as bash does.
pub fn quoted(word: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/=:,@+%".contains(&byte);
    let Ok(word) = std::str::from_utf8(word) else {
        let byte = |&byte: &u8| match byte {
            b'\'' | b'\\' | 0..b' ' | 0x7f.. => format!("\\{byte:03o}"),
            _ => char::from(byte).to_string(),
        };
        return format!("$'{}'", word.iter().map(byte).collect::<String>());
    };
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        assert_eq!(quoted(b"a-b=c/d"), "a-b=c/d");
        assert_eq!(quoted(b""), "''");
        assert_eq!(quoted(b"it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(b"it's \xff1"), r"$'it\047s \3771'");
    }

    #[test]
    fn amounts_for_qemu() {
        assert_eq!(escaped(OsStr::from_bytes(b"a,\xff,")), OsStr::from_bytes(b"a,,\xff,,"));
        assert_eq!(memory(Size(64 * MIB)), "64M");
        assert_eq!(memory(Size(2500 * 1024)), "2500k");
    }
}
