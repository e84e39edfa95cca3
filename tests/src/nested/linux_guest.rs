//! A guest of Debian's kernel that runs one program, to compare with: its initramfs.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::cpio::Archive;
use super::first_level::MOUNTS;
use super::packages::{self, Kernel};

/// The drivers of virtio's network card on PCI, in the order in which they are loaded.
const MODULES: [&str; 8] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];
/// What programs find users and names by.
const SETTINGS: [(&str, &str); 2] =
    [("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n"), ("/etc/nsswitch.conf", "passwd: files\n")];

/// Makes an initramfs that sets the card's address and runs the program as the first process.
///
/// # Errors
/// If something that it is made of is missing.
pub fn initramfs(
    kernel: &Kernel,
    program: &str,
    arguments: &[&str],
    address: &str,
) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/bin"] {
        archive.directory(folder);
    }
    let mut files = vec![PathBuf::from("/bin/busybox"), PathBuf::from(program)];
    files.extend(packages::libraries(Path::new(program))?);
    for file in files {
        archive.host(&file, &file.to_string_lossy()).map_err(|e| format!("{e:#}"))?;
    }
    for name in MODULES {
        let file = packages::module(&kernel.modules, name)?;
        archive.host(&file, &format!("/modules/{name}.ko")).map_err(|e| format!("{e:#}"))?;
    }
    for (path, text) in SETTINGS {
        archive.bytes(path, 0o644, text.as_bytes());
    }
    let mut script = String::from(MOUNTS);
    for module in MODULES {
        let _ = writeln!(script, "insmod /modules/{module}.ko");
    }
    let arguments = arguments.join(" ");
    let _ = write!(
        script,
        "ip link set lo up
ip addr add {address}/24 dev eth0
ip link set eth0 up
exec {program} {arguments}
"
    );
    archive.bytes("/init", 0o755, script.as_bytes());
    Ok(archive.finish())
}
