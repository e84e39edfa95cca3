//! The two operating systems side by side: how each starts a program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use coracle_image::{MAGIC, PAGE_SIZE};
use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::cpio::Archive;
use crate::disk;
use crate::network;
use crate::program::Program;
use crate::tools::{self, LinuxKernel};

/// An operating system under measurement.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Guest {
    /// Debian's cloud kernel.
    Linux,
    /// Coracle, program and kernel in ring 0, or EL1.
    Unikernel,
    /// Coracle, the program in ring 3, or EL0.
    Protected,
    /// Coracle as [`Guest::Unikernel`], on the machine that `coracle run` chooses where nothing is said.
    Microvm,
}

impl Guest {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Unikernel => "unikernel",
            Self::Protected => "protected",
            Self::Microvm => "microvm",
        }
    }

    /// The name `coracle build --mode` has for it.
    fn mode(self) -> &'static str {
        if self == Self::Protected { "protected" } else { "unikernel" }
    }
}

/// The hardware of the machine.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// QEMU's machine type for all guests but [`Guest::Microvm`]: `q35` or `pc`. (Debian's cloud kernel does not start
    /// on `microvm`: it is built without CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES and CONFIG_X86_MPPARSE.)
    pub machine: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Whether all system calls are traced, as by `coracle run --trace` (Coracle only).
    pub is_traced: bool,
}

/// How a guest is started.
pub struct Launch {
    /// The command, without what measuring adds.
    pub words: Vec<String>,
    /// It is `coracle run`, which hands arguments on to QEMU, and not QEMU.
    pub is_run: bool,
    /// The guest's hardware address, if the command chooses it.
    pub mac: Option<String>,
}

/// Everything needed to start guests.
pub struct Shipyard {
    /// The architecture of the guests.
    pub arch: Arch,
    /// Where images and archives are made.
    pub out: PathBuf,
    /// The Linux guest's kernel, if Linux is measured.
    pub linux: Option<LinuxKernel>,
    /// The `coracle` command.
    pub coracle: PathBuf,
}

/// A program made ready for one guest.
#[derive(Clone, Debug)]
pub struct Image {
    /// The initramfs or the bootable image.
    file: PathBuf,
    program: Program,
    guest: Guest,
    /// Bytes that must be loaded to boot: for Linux the kernel counts too.
    pub bytes: u64,
    /// Of these, the kernel's.
    pub kernel_bytes: u64,
}

/// Modules the Linux guest's drivers are in; what they depend on is loaded before them.
const LINUX_MODULES: &[&str] = &["virtio_pci", "virtio_mmio", "virtio_net"];
/// Where such modules are, under the kernel's directory of modules.
const MODULE_DIRECTORIES: &[&str] = &[
    "kernel/drivers/virtio",
    "kernel/drivers/net",
    "kernel/net/core",
    "kernel/drivers/block",
    "kernel/arch/x86/crypto",
];

impl Shipyard {
    /// Makes what this guest boots.
    pub fn build(&self, guest: Guest, program: &Program) -> Result<Image> {
        match guest {
            Guest::Linux => self.build_linux(program),
            Guest::Unikernel | Guest::Protected | Guest::Microvm => self.build_coracle(guest, program),
        }
    }

    /// The command that boots the image (without what measuring adds).
    pub fn command(&self, image: &Image, hardware: &Hardware) -> Result<Launch> {
        match image.guest {
            Guest::Linux if hardware.is_traced => bail!("calls of a Linux guest are not traced"),
            Guest::Linux => {
                Ok(Launch { words: self.linux_command(image, hardware)?, is_run: false, mac: None })
            }
            Guest::Unikernel | Guest::Protected | Guest::Microvm => self.coracle_command(image, hardware),
        }
    }

    fn linux(&self) -> Result<&LinuxKernel> {
        self.linux.as_ref().context("no Linux kernel was fetched")
    }

    fn build_linux(&self, program: &Program) -> Result<Image> {
        let busybox = (program.tree.find("busybox"))
            .context("no busybox for the Linux guest's start: apt-get install busybox-static")?;
        let mut archive = Archive::default();
        for directory in ["proc", "sys", "dev", "tmp", "run", "root", "var/log"] {
            archive.directory(directory);
        }
        archive.host(&program.tree.host(&busybox), "/bin/busybox")?;
        archive.symlink("/bin/sh", "busybox");
        let mut init = String::from(
            "#!/bin/busybox sh\nPATH=/bin\nbusybox mount -t proc proc /proc\nbusybox mount -t sysfs sys /sys\n\
             busybox mount -t devtmpfs dev /dev\nbusybox mkdir /dev/shm\nbusybox mount -t tmpfs shm /dev/shm\n",
        );
        let mut modules = Vec::new();
        let disk_modules = program.disk.as_ref().map_or(&[][..], |_| self.arch.facts().disk_modules);
        for module in LINUX_MODULES.iter().chain(disk_modules) {
            self.load_order(module, &mut modules)?;
        }
        for (name, file) in modules {
            archive.host(&file, &format!("/modules/{name}.ko"))?;
            init += &format!("busybox insmod /modules/{name}.ko\n");
        }
        init += &format!(
            "busybox ip link set lo up\nbusybox ip addr add {}/{} dev eth0\nbusybox ip link set eth0 up\n\
             ulimit -n 65536\n",
            network::GUEST,
            network::PREFIX
        );
        if program.disk.is_some() {
            archive.directory(disk::AT);
            init += &format!("busybox mount -t ext4 /dev/vda {}\n", disk::AT);
        }
        let words: Vec<_> = std::iter::once(program.path.to_string_lossy().into_owned())
            .chain(program.args.iter().cloned())
            .map(|word| shell_quote(&word))
            .collect();
        let mut line = words.join(" ");
        if let Some((user, group)) = owner(program)? {
            // With the names of /etc/passwd.
            init += &format!(
                "busybox chmod 1777 /tmp\nuser=$(busybox awk -F: '$3 == {user} && $4 == {group} {{print $1; exit}}' /etc/passwd)\n"
            );
            line = format!("busybox su -s /bin/sh $user -c {}", shell_quote(&line));
        }
        if program.disk.is_some() {
            line += &format!("\nbusybox umount {}", disk::AT);
        }
        init += &format!("{line}\nbusybox reboot -f\n");
        archive.bytes("/init", 0o755, init.as_bytes());
        for (guest, host) in program.closure() {
            archive.host(&host, &guest)?;
        }
        let file = self.out.join(format!("{}.linux.cpio", program.name));
        fs::write(&file, archive.finish())?;
        let kernel_bytes = fs::metadata(&self.linux()?.image)?.len();
        let bytes = fs::metadata(&file)?.len() + kernel_bytes;
        Ok(Image { file, program: program.clone(), guest: Guest::Linux, bytes, kernel_bytes })
    }

    /// Appends the module to `order`, after those it depends on (the `depends=` of its own .modinfo).
    fn load_order(&self, name: &str, order: &mut Vec<(String, PathBuf)>) -> Result<()> {
        if order.iter().any(|(module, _)| module == name) {
            return Ok(());
        }
        let modules = &self.linux()?.modules;
        let file = MODULE_DIRECTORIES
            .iter()
            .map(|directory| modules.join(directory).join(format!("{name}.ko")))
            .find(|file| file.is_file())
            .with_context(|| format!("the Linux kernel has no module {name}"))?;
        let bytes = fs::read(&file)?;
        for entry in bytes.split(|byte| *byte == 0) {
            if let Some(names) = entry.strip_prefix(b"depends=") {
                for needed in String::from_utf8_lossy(names).split(',').filter(|name| !name.is_empty()) {
                    self.load_order(needed, order)?;
                }
            }
        }
        order.push((name.to_owned(), file));
        Ok(())
    }

    fn linux_command(&self, image: &Image, hardware: &Hardware) -> Result<Vec<String>> {
        let facts = self.arch.facts();
        let mut command = vec![facts.qemu.0.to_owned()];
        command.extend(words("-nodefaults -no-user-config -no-reboot -display none"));
        command.extend(words(facts.qemu_options));
        command.extend(words(&format!(
            "-machine {}{} -accel tcg -cpu {} -smp {} -m {}M",
            hardware.machine, facts.machine_options, facts.cpu, hardware.cpus, hardware.memory_mib
        )));
        command.extend(words(&format!(
            "-kernel {} -initrd {} -append",
            self.linux()?.image.display(),
            image.file.display()
        )));
        command.push(format!("console={} quiet mitigations=off reboot=t panic=-1", facts.serial));
        command.extend(words(&format!(
            "-serial file:{}/console -netdev tap,id=net0,ifname={},script=no,downscript=no -device \
             {},netdev=net0,mac={}",
            self.out.display(),
            network::TAP,
            facts.devices.0,
            network::MAC,
        )));
        if let Some(file) = self.new_disk(image)? {
            command.extend(words(&format!(
                "-drive if=none,id=disk0,format=raw,cache=writeback,discard=unmap,file={} -device \
                 {},drive=disk0",
                file.display(),
                facts.devices.1
            )));
        }
        Ok(command)
    }

    /// The file of a disk as the program's is at the start, if it has one.
    fn new_disk(&self, image: &Image) -> Result<Option<PathBuf>> {
        let Some(disk) = &image.program.disk else { return Ok(None) };
        let file = self.out.join("disk.img");
        disk.make(&file)?;
        Ok(Some(file))
    }

    fn build_coracle(&self, guest: Guest, program: &Program) -> Result<Image> {
        let file = self.out.join(format!("{}.{}.img", program.name, guest.name()));
        let mut command = Command::new(&self.coracle);
        command.arg("build").arg(&program.path).arg("-o").arg(&file).args(["--mode", guest.mode()]);
        // As in the Linux guest.
        let user = match owner(program)? {
            Some((user, group)) => format!("{user}:{group}"),
            None => "root".to_owned(),
        };
        command.args(["--user", &user]);
        if self.arch.is_host() {
            let libraries = program.tree.libraries(&program.host);
            for (path, host) in program.closure() {
                if host != program.host && !libraries.contains_key(&path) {
                    command.arg("--add").arg(format!("{}:{path}", host.display()));
                }
            }
        } else {
            // The whole of a tree becomes part of the image, so the program has one of its own.
            command.arg("--root").arg(self.own_tree(program)?);
        }
        command.arg("--").args(&program.args);
        tools::run(&mut command)?;
        let image = fs::read(&file)?;
        let archive = image.chunks(PAGE_SIZE).position(|page| page.starts_with(&MAGIC));
        let kernel_bytes = archive.with_context(|| format!("{} is no image", file.display()))? * PAGE_SIZE;
        Ok(Image {
            file,
            program: program.clone(),
            guest,
            bytes: image.len() as u64,
            kernel_bytes: kernel_bytes as u64,
        })
    }

    /// A tree with nothing but the program's own files.
    fn own_tree(&self, program: &Program) -> Result<PathBuf> {
        let tree = self.out.join(format!("{}.root", program.name));
        let _ = fs::remove_dir_all(&tree);
        for (path, host) in program.closure() {
            let to = tree.join(path.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
            fs::copy(&host, to).with_context(|| format!("cannot copy {}", host.display()))?;
        }
        Ok(tree)
    }

    /// What `coracle run` would start: the bench measures what users get.
    fn coracle_command(&self, image: &Image, hardware: &Hardware) -> Result<Launch> {
        let machine = if image.guest == Guest::Microvm { "microvm" } else { hardware.machine.as_str() };
        let mut command = Command::new(&self.coracle);
        command.arg("run").arg(&image.file).args([
            "--accel",
            "tcg",
            "--machine",
            machine,
            "-m",
            &format!("{}M", hardware.memory_mib),
            "--cpus",
            &hardware.cpus.to_string(),
            "--net",
            &format!("tap:{}", network::TAP),
            "--ip",
            &format!("{}/{}", network::GUEST, network::PREFIX),
        ]);
        if let Some(file) = self.new_disk(image)? {
            command.arg("-v").arg(format!("{}:{}", file.display(), disk::AT));
        }
        let mut traced = Command::new(command.get_program());
        traced.args(command.get_args()).args(["--quiet", "--trace=all", "--trace-file"]);
        traced.arg(self.out.join("calls"));
        let qemu = shell_split(&tools::run(command.arg("--dry-run"))?);
        if qemu.is_empty() {
            bail!("`coracle run --dry-run` printed nothing");
        }
        let mac = qemu.iter().flat_map(|word| word.split(',')).find_map(|option| option.strip_prefix("mac="));
        let mac = mac.map(str::to_owned);
        if !hardware.is_traced {
            return Ok(Launch { words: qemu, is_run: false, mac });
        }
        let words = std::iter::once(traced.get_program()).chain(traced.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
        Ok(Launch { words, is_run: true, mac })
    }
}

/// The user and group that the program runs as, if they aren't root's.
fn owner(program: &Program) -> Result<Option<(u32, u32)>> {
    match &program.disk {
        Some(disk) if program.as_owner => disk.owner().map(Some),
        _ => Ok(None),
    }
}

impl Image {
    /// The program in it.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The guest it is for.
    pub fn guest(&self) -> Guest {
        self.guest
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Quotes a word for a POSIX shell.
fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Splits a command line as a POSIX shell does: quotes, backslashes, and line ends after a backslash.
fn shell_split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => word.get_or_insert_default().extend(chars.by_ref().take_while(|&c| c != '\'')),
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|&c| c != '"') {
                    word.extend(if c == '\\' { chars.next() } else { Some(c) });
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_command_is_split_as_a_shell_does() {
        assert_eq!(shell_split("a 'b c' \"d\\\"e\" f\\ g \\\n h ''"), ["a", "b c", "d\"e", "f g", "h", ""]);
        for word in ["", "a b", "it's", "\"x\"\\"] {
            assert_eq!(shell_split(&shell_quote(word)), [word]);
        }
    }
}
