//! What this machine offers: QEMU, KVM, free ports, tap devices.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;

use crate::arch::Arch;
use crate::args::Accel;
use crate::error::{Error, Result};
use crate::net::{Forward, Protocol};

/// The door to KVM.
const KVM: &str = "/dev/kvm";

/// Finds a program by the environment variable that names another one, or in the directories of PATH.
pub fn program(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Finds the QEMU of an architecture.
pub fn qemu(arch: Arch) -> Result<PathBuf> {
    let (qemu, variable) = (arch.qemu(), arch.qemu_variable());
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Error::new(format!("there is no `{}`, which {variable} names", path.display())))
        };
    }
    program(qemu, variable).ok_or_else(|| {
        let [debian, fedora, archlinux] = arch.qemu_packages();
        Error::new("QEMU is not installed")
            .why(format!("`{qemu}` is in no directory of PATH"))
            .help(format!("on Debian or Ubuntu: apt-get install {debian}"))
            .help(format!("on Fedora: dnf install {fedora}; on Arch: pacman -S {archlinux}"))
            .help(format!("or set {variable} to its path"))
    })
}

/// The accelerator for QEMU, and why that one.
pub fn accelerator(wish: Accel, arch: Arch) -> Result<(&'static str, String)> {
    match (wish, kvm_obstacle(arch)) {
        (Accel::Tcg, _) => Ok(("tcg", "asked for".to_owned())),
        (Accel::Kvm, None) => Ok(("kvm", "asked for".to_owned())),
        (Accel::Auto, None) => Ok(("kvm", "found".to_owned())),
        (Accel::Auto, Some(obstacle)) => Ok(("tcg", format!("no KVM: {obstacle}"))),
        (Accel::Kvm, Some(obstacle)) => Err(Error::new("KVM cannot be used")
            .why(obstacle)
            .help("leave out `--accel kvm`, to run slower on QEMU's translator")
            .help("or turn virtualisation on in the firmware, load kvm_intel or kvm_amd, and join the group `kvm`")),
    }
}

/// QEMU's translator, which alone counts instructions.
pub fn translator(wish: Accel) -> Result<(&'static str, String)> {
    match wish {
        Accel::Kvm => Err(Error::new("--count-instructions cannot be used with `--accel kvm`")
            .why("QEMU counts the instructions that it translates")
            .help("leave out `--accel kvm`")),
        Accel::Auto | Accel::Tcg => Ok(("tcg", "counts instructions".to_owned())),
    }
}

/// Why KVM cannot be used.
fn kvm_obstacle(arch: Arch) -> Option<String> {
    if !arch.is_host() {
        return Some(format!("the guest is for {arch}, and this machine is another"));
    }
    // A device without the CPU's flag is a paravirtual one that runs 64-bit guests instruction by instruction.
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flag = |line: &str| {
        line.starts_with("flags") && line.split_whitespace().any(|word| word == "vmx" || word == "svm")
    };
    if arch == Arch::X86_64 && !cpu.lines().any(flag) {
        return Some("the CPU has neither vmx nor svm".to_owned());
    }
    match fs::OpenOptions::new().read(true).write(true).open(KVM) {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!("there is no {KVM}")),
        Err(error) => Some(format!("{KVM}: {error}")),
    }
}

/// Checks that the ports are free, all at once, so that one given twice is found too.
pub fn check_ports(forwards: &[Forward]) -> Result<()> {
    enum Held {
        Tcp(#[expect(dead_code, reason = "held, not used")] TcpListener),
        Udp(#[expect(dead_code, reason = "held, not used")] UdpSocket),
    }
    let mut held = Vec::new();
    for (index, forward) in forwards.iter().enumerate() {
        let place = (forward.address, forward.host);
        let bound = match forward.protocol {
            Protocol::Tcp => TcpListener::bind(place).map(Held::Tcp),
            Protocol::Udp => UdpSocket::bind(place).map(Held::Udp),
        };
        let same = |other: &Forward| other.host == forward.host && other.protocol == forward.protocol;
        let what = |state: &str| Error::new(format!("port {}/{} {state}", forward.host, forward.protocol));
        let elsewhere = format!("choose another, as in -p {}:{}", other_port(forward.host), forward.guest);
        match bound {
            Ok(socket) => held.push(socket),
            Err(error) => {
                return Err(match error.kind() {
                    ErrorKind::AddrInUse if forwards[..index].iter().any(same) => {
                        what("is given twice").help("each port of this machine can lead to one port of the guest")
                    }
                    ErrorKind::AddrInUse => what("is taken")
                        .why(format!("another program of this machine listens on {}:{}", forward.address, forward.host))
                        .help(format!("`ss -{}lnp sport = :{}` tells which", letter(forward.protocol), forward.host))
                        .help(elsewhere),
                    ErrorKind::PermissionDenied => what("is not allowed")
                        .why("ports below 1024 are for root, unless net.ipv4.ip_unprivileged_port_start says otherwise")
                        .help(elsewhere),
                    ErrorKind::AddrNotAvailable => what("cannot be opened")
                        .why(format!("{} is no address of this machine", forward.address))
                        .help("`ip address` lists them"),
                    _ => what("cannot be opened").why(error),
                });
            }
        }
    }
    Ok(())
}

fn letter(protocol: Protocol) -> char {
    match protocol {
        Protocol::Tcp => 't',
        Protocol::Udp => 'u',
    }
}

/// A port to suggest in place of one: out of the way of well-known ones.
fn other_port(port: u16) -> u16 {
    const AWAY: u16 = 10_000;
    port.checked_add(AWAY).unwrap_or_else(|| port - AWAY)
}

/// Checks that the tap device is there and can be opened.
pub fn check_tap(name: &str) -> Result<()> {
    const TUN: &str = "/dev/net/tun";
    let error = Error::new(format!("the tap device `{name}` cannot be used"));
    // Of the network namespace that this runs in; /sys shows the one it was mounted from.
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let is_there =
        devices.lines().any(|line| line.split_once(':').is_some_and(|(device, _)| device.trim() == name));
    if !is_there {
        return Err(error.why("there is no such device").help(format!(
            "as root: ip tuntap add {name} mode tap user $USER; ip address add 10.0.5.1/24 dev {name}; ip link set {name} up"
        )));
    }
    match fs::OpenOptions::new().read(true).write(true).open(TUN) {
        Ok(_) => Ok(()),
        Err(why) => Err(error.why(format!("{TUN}: {why}"))),
    }
}
