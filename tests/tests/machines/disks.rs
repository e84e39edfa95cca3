//! Disks: what one guest writes is read by the host and by another guest, over each bus and with each kind of device.
use crate::Case;
use coracle_tests::build::Target;
use coracle_tests::outcome::Outcome;
use coracle_tests::{aarch64, bare, build, paths};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of the size of the tests' data, and some more.
const BYTES: u64 = 8 << 20;
/// What the program writes, and where.
const PATTERN_BYTES: usize = 3 << 20;
const PATTERN_AT: u64 = 512;

const MMIO: &str = "-machine microvm,acpi=off -cpu max -global virtio-mmio.force-legacy=false";
const LEGACY_MMIO: &str = "-machine microvm -cpu max -global virtio-mmio.force-legacy=on";
pub const Q35: &str = "-machine q35 -cpu max";
pub const TWO: &str = "-machine q35 -cpu max -smp 2";

pub const CASES: &[Case] = &[
    case("disk_on_mmio", || survives("mmio", MMIO, "virtio-blk-device", 512)),
    case("disk_on_legacy_mmio", || survives("legacy_mmio", LEGACY_MMIO, "virtio-blk-device", 512)),
    case("disk_on_pci", || survives("pci", Q35, "virtio-blk-pci", 512)),
    case("disk_on_legacy_pci", || {
        survives("legacy_pci", "-machine pc -cpu max", "virtio-blk-pci,disable-modern=on", 512)
    }),
    case("disk_with_a_queue_for_each_cpu", || survives("queues", TWO, "virtio-blk-pci,num-queues=2", 512)),
    case("disk_of_large_blocks", || {
        survives("large_blocks", TWO, "virtio-blk-pci,logical_block_size=4096,physical_block_size=4096", 4096)
    }),
    // Requests are cut up, and wait for room.
    case("disk_with_few_descriptors", || {
        survives("few", TWO, "virtio-blk-pci,queue-size=4,seg-max-adjust=on,event_idx=off,num-queues=1", 512)
    }),
    // What was written is stable at once: there is nothing to flush.
    case("disk_that_writes_through", || {
        survives(
            "through",
            Q35,
            "virtio-blk-pci,write-cache=off,config-wce=off,discard=off,write-zeroes=off",
            512,
        )
    }),
    case("disk_on_nvme", || survives("nvme", TWO, "nvme,serial=one", 512)),
    case("disk_of_large_blocks_on_nvme", || {
        let device = "nvme,serial=one,max_ioqpairs=1,logical_block_size=4096,physical_block_size=4096";
        survives("nvme_large_blocks", TWO, device, 4096)
    }),
    case("disks_and_partitions", partitions),
    case("read_only_disk", read_only),
    case("disk_with_errors", errors),
];

const fn case(name: &'static str, test: fn() -> Result<(), String>) -> Case {
    Case { name, test, tap: false }
}

/// The guest's name of the disk of a test.
pub fn path(test: &str) -> &'static str {
    if test.starts_with("nvme") { "/dev/nvme0n1" } else { "/dev/vda" }
}

/// An image of one step of the program.
fn image(name: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    image_of("special.c", Target::Host, name, arguments)
}

/// An image of one step of a program, as root, with the disk of a test.
pub fn image_of(source: &str, target: Target, name: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let file = paths::programs().join("disks").join(source);
    let program = build::c_file(&file, target)?;
    let root = if target == Target::Aarch64 { Some(aarch64::libraries()?) } else { None };
    let options = |command: &mut Command| {
        command.args(["--user", "root", "-e", &format!("DISK={}", path(name))]);
        if let Some(root) = root {
            let add = format!("{0}:{0}", program.display());
            command.args(["--add", &add]);
            aarch64::with_root(command, &root);
        }
    };
    let stem = source.trim_end_matches(".c");
    bare::image_with(&format!("{stem}_{name}_{}", arguments[0]), &program, arguments, options)
}

/// A file for a disk.
pub fn disk(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join("disks");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let path = folder.join(name).with_extension("raw");
    let file = fs::File::create(&path).map_err(|e| e.to_string())?;
    file.set_len(BYTES).map_err(|e| e.to_string())?;
    Ok(path)
}

/// QEMU's options for a disk that is `file`.
pub fn drive(number: usize, file: &Path, options: &str, device: &str) -> String {
    let file = file.display();
    format!(" -drive if=none,id=d{number},format=raw,file={file}{options} -device {device},drive=d{number}")
}

pub fn boot(machine: &str, words: &str, image: &Path) -> Result<Outcome, String> {
    let mode = if machine.contains("-smp") { "protected" } else { "unikernel" };
    bare::boot(&format!("{machine} -m 64M -no-reboot"), &format!("{words} mode={mode} reboot=t"), image)
}

pub fn expect(outcome: &Outcome, texts: &[&str]) -> Result<(), String> {
    let text = outcome.text();
    let missing = texts.iter().find(|expected| !text.contains(**expected));
    match missing {
        None if !text.contains("FAILED") => Ok(()),
        None => Err(format!("a check failed: {text}")),
        Some(missing) => Err(format!("`{missing}` is missing: {text}")),
    }
}

/// The bytes that the program writes (`pattern` of `t.h`).
fn pattern() -> Vec<u8> {
    (0..PATTERN_BYTES).map(|i| (i * 31 + (i >> 8) * 7 + (i >> 16)) as u8).collect()
}

pub fn survives(name: &str, machine: &str, device: &str, block: usize) -> Result<(), String> {
    let target = bare::target(machine);
    let file = disk(name)?;
    let machine = format!("{machine}{}", drive(0, &file, "", device));
    let block = block.to_string();
    let written = boot(&machine, "", &image_of("special.c", target, name, &["write", &block])?)?;
    expect(&written, &["written"])?;
    let mut bytes = vec![0; PATTERN_BYTES];
    let opened = fs::File::open(&file).map_err(|e| e.to_string())?;
    opened.read_exact_at(&mut bytes, PATTERN_AT).map_err(|e| e.to_string())?;
    if bytes != pattern() {
        return Err("the host does not find what the guest wrote".into());
    }
    expect(&boot(&machine, "", &image_of("special.c", target, name, &["read"])?)?, &["read"])?;
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// A GPT and an MBR with an extended partition, beside a disk without a table.
fn partitions() -> Result<(), String> {
    let files = [disk("gpt")?, disk("mbr")?, disk("plain")?];
    let tables = [
        "label: gpt\nstart=2048, size=4096\nsize=2048\n",
        "label: dos\n1 : start=2048, size=2048, type=83\n2 : start=4096, size=8192, type=5\n5 : start=6144, size=1024, type=83\n",
    ];
    for (file, table) in files.iter().zip(tables) {
        let script = format!("printf '{table}' | sfdisk -q {}", file.display());
        let made = Command::new("sh").args(["-c", &script]).output().map_err(|e| e.to_string())?;
        if !made.status.success() {
            return Err(format!("sfdisk: {}", String::from_utf8_lossy(&made.stderr)));
        }
    }
    let drives: String = files
        .iter()
        .enumerate()
        .map(|(number, file)| drive(number, file, "", &format!("virtio-blk-pci,serial=disk{number}")))
        .collect();
    // The second partition of the MBR is the extended one, which holds the fifth.
    let names = ["describe", "vda", "vda1", "vda2", "vdb", "vdb1", "vdb5", "vdc"];
    let outcome = boot(&format!("{Q35}{drives}"), "", &image("partitions", &names)?)?;
    expect(
        &outcome,
        &[
            "vda: 16384 sectors, blocks of 512 and 512 bytes, read-only 0",
            "vda1: 4096 sectors",
            "vda2: 2048 sectors",
            "vdb1: 2048 sectors",
            "vdb5: 1024 sectors",
            "vdc: 16384 sectors",
        ],
    )
}

/// As on Linux (`blkdev_write_iter`): the special file opens, and each change is refused.
fn read_only() -> Result<(), String> {
    let file = disk("read_only")?;
    let machine = format!("{Q35}{}", drive(0, &file, ",read-only=on", "virtio-blk-pci"));
    let outcome = boot(&machine, "", &image("read_only", &["refuse"])?)?;
    expect(
        &outcome,
        &[
            "fd >= 0 = 1",
            "read(fd, &byte, 1) = 1",
            "write(fd, &byte, 1) = -1 EPERM",
            "ioctl(fd, BLKZEROOUT, range) = -1 EPERM",
            "ioctl(fd, BLKDISCARD, range) = -1 EPERM",
            "fsync(fd) = 0",
        ],
    )
}

fn errors() -> Result<(), String> {
    let file = disk("errors")?;
    let rules = file.with_extension("rules");
    // In sectors of 512 bytes.
    let rule = |kind: &str, sector: u32| {
        format!(
            "[inject-error]\nevent = \"none\"\niotype = \"{kind}\"\nerrno = \"5\"\nsector = \"{sector}\"\n"
        )
    };
    fs::write(&rules, rule("read", 2048) + &rule("write", 4096)).map_err(|e| e.to_string())?;
    let (file, rules) = (file.display(), rules.display());
    let drive = format!(
        "-drive if=none,id=d0,driver=blkdebug,config={rules},image.driver=raw,image.file.driver=file,image.file.filename={file},werror=report,rerror=report"
    );
    let machine = format!("{TWO} {drive} -device virtio-blk-pci,drive=d0");
    let outcome = boot(&machine, "", &image("errors", &["errors"])?)?;
    let shown = [
        "pread(fd, page, PAGE, 1 << 20) = -1 EIO",
        "pread(fd, page, PAGE, (1 << 20) - PAGE) = 4096",
        "preadv(fd, two, 2, (1 << 20) - PAGE) = 4096",
        "pwrite(fd, page, PAGE, 2 << 20) = 4096",
        "pwrite(fd, page, PAGE, 3 << 20) = 4096",
        "fsync(fd) = -1 EIO",
        "fsync(fd) = 0",
        "fsync(other) = -1 EIO",
        "fsync(other) = 0",
        "pwrite(direct, aligned, PAGE, 2 << 20) = -1 EIO",
        "pread(direct, aligned, PAGE, 1 << 20) = -1 EIO",
        "pread(direct, aligned, PAGE, 3 << 20) = 4096",
        "SIGBUS comes next",
    ];
    expect(&outcome, &shown)?;
    // In this order, and the program ends where it touches the page.
    let text = outcome.text();
    let order = shown.iter().try_fold(0, |from, line| Some(from + text[from..].find(line)? + line.len()));
    match order {
        Some(_) if !text.contains("map[0]") => Ok(()),
        _ => Err(format!("the lines come in another order, or after SIGBUS: {text}")),
    }
}
