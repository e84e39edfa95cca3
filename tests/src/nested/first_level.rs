//! The first level: its initramfs and the script that boots the guests one after the other.
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::cpio::Archive;
use super::guests::Guest;
use super::packages::{self, Kernel};
use crate::paths;

/// KVM on AMD's CPUs, in the order in which the modules are loaded.
const MODULES: [&str; 4] = ["irqbypass", "kvm", "ccp", "kvm-amd"];
/// QEMU.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";
/// Where QEMU looks for firmware, and the files of it that the machines load.
const FIRMWARE: [(&str, &[&str]); 2] = [
    ("/usr/share/qemu", &["qboot.rom", "pvh.bin", "bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin"]),
    ("/usr/share/seabios", &["bios-256k.bin"]),
];
/// How long a guest may take, in seconds of the first level.
const LIMIT: u32 = 90;

/// Writes the part of the initramfs that all runs share: programs, libraries, KVM's modules and these.
///
/// # Errors
/// If something that it is made of is missing.
pub fn base(kernel: &Kernel, modules: &[&str]) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/bin", "/guests", "/usr/bin"] {
        archive.directory(folder);
    }
    let mut files = vec![PathBuf::from("/bin/busybox"), PathBuf::from(QEMU)];
    files.extend(packages::libraries(Path::new(QEMU))?);
    for (folder, names) in FIRMWARE {
        files.extend(names.iter().map(|name| Path::new(folder).join(name)));
    }
    for file in files {
        archive.host(&file, &file.to_string_lossy()).map_err(|e| format!("{e:#}"))?;
    }
    for name in MODULES.iter().chain(modules) {
        let file = packages::module(&kernel.modules, name)?;
        archive.host(&file, &format!("/modules/{name}.ko")).map_err(|e| format!("{e:#}"))?;
    }
    Ok(archive.finish())
}

/// Writes the part of the initramfs that belongs to one run: the script and the images.
///
/// # Errors
/// If an image can't be read.
pub fn run(guests: &[Guest]) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    archive.bytes("/init", 0o755, script(guests).as_bytes());
    let coracle = paths::coracle();
    archive.host(coracle, "/usr/bin/coracle").map_err(|e| format!("{e:#}"))?;
    for library in packages::libraries(coracle)? {
        archive.host(&library, &library.to_string_lossy()).map_err(|e| format!("{e:#}"))?;
    }
    for (number, guest) in guests.iter().enumerate() {
        let image = fs::read(&guest.image).map_err(|e| format!("{}: {e}", guest.image.display()))?;
        archive.bytes(&format!("/guests/{number}.img"), 0o644, &image);
    }
    Ok(archive.finish())
}

/// The script. What a guest said goes to the second serial port: a line `@@NUMBER STATUS LENGTHS`, then its standard
/// output and its control channel, each as long as the line says.
fn script(guests: &[Guest]) -> String {
    let mut text = prologue(&[]);
    text.push_str(
        "end() {
  echo \"@@$1 $2 $(wc -c </tmp/out) $(wc -c </tmp/control)\" >/dev/ttyS1
  cat /tmp/out /tmp/control >/dev/ttyS1
}
",
    );
    for (number, guest) in guests.iter().enumerate() {
        let command = guest.command(number, "/tmp/control", LIMIT);
        let _ = writeln!(text, ": >/tmp/control\n{command} >/tmp/out 2>&1\nend {number} $?");
    }
    text.push_str("poweroff -f\n");
    text
}

/// How a script for the first process begins: it makes busybox's commands known, and mounts the kernel's file systems.
pub const MOUNTS: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
";

/// What each script begins with: it mounts file systems and loads KVM's modules and these.
pub fn prologue(modules: &[&str]) -> String {
    let mut text = String::from(MOUNTS);
    text.push_str(
        "ln -s /proc/self/fd /dev/fd
export HOME=/tmp
exec </dev/null
stty -F /dev/ttyS1 raw -echo
",
    );
    for module in MODULES.iter().chain(modules) {
        let _ = writeln!(text, "insmod /modules/{module}.ko");
    }
    text
}
