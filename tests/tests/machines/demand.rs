//! Images whose files stay on a disk: over each bus and kind of disk, and with disks that are missing, of another build, cut short, damaged, or can't be read.
use crate::Case;
use crate::disks::{Q35, TWO, boot, drive, expect};
use coracle_tests::{bare, build, paths};
use std::fs;
use std::path::{Path, PathBuf};

const MMIO: &str = "-machine microvm,acpi=off -cpu max -global virtio-mmio.force-legacy=false";
/// The large file of the image, and the page of it that is bad.
const LARGE: usize = 1 << 20;
const BAD: usize = 100 * PAGE;
const PAGE: usize = 4096;
/// The program's exit status when all is well.
const STATUS: &str = "exit status 3";
/// What the program prints that meets the bad page.
const MET: [&str; 5] = [
    "the page: EIO",
    "the page before it: bytes",
    "mapped, the page before it: the same",
    "SIGBUS, BUS_ADRERR",
    STATUS,
];

pub const CASES: &[Case] = &[
    case("image_on_a_disk_on_mmio", || reads("mmio", MMIO, "virtio-blk-device")),
    case("image_on_a_disk_on_pci", || reads("pci", Q35, "virtio-blk-pci")),
    case("image_on_a_disk_of_large_blocks", || {
        reads("large_blocks", TWO, "virtio-blk-pci,logical_block_size=4096,physical_block_size=4096")
    }),
    case("image_on_a_disk_on_nvme", || reads("nvme", TWO, "nvme,serial=image")),
    case("image_on_the_second_disk", second),
    case("image_without_its_disk", missing),
    case("image_with_the_disk_of_another_build", other),
    case("image_on_a_disk_cut_short", cut),
    case("image_on_a_damaged_disk", damaged),
    case("image_on_a_disk_with_errors", errors),
];

const fn case(name: &'static str, test: fn() -> Result<(), String>) -> Case {
    Case { name, test, tap: false }
}

/// Bytes without two pages that are alike.
fn large(seed: u64) -> Vec<u8> {
    let mix = |word: u64| (word + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (1..=LARGE as u64 / 8).flat_map(mix).collect()
}

/// An image whose program reads a file of these bytes.
fn image(name: &str, bytes: &[u8], arguments: &[&str]) -> Result<PathBuf, String> {
    let program = build::c_server(&paths::programs().join("servers/paged.c"))?;
    let file = paths::work().join(format!("paged-{name}"));
    fs::write(&file, bytes).map_err(|e| e.to_string())?;
    bare::image_with(&format!("paged_{name}"), &program, arguments, |command| {
        command.arg("--demand").arg("--add").arg(format!("{}:/large", file.display()));
    })
}

/// What the program prints of the whole file.
fn sum(bytes: &[u8]) -> String {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    format!("{} bytes, sum {:x}", bytes.len(), bytes.iter().fold(0, add))
}

fn reads(name: &str, machine: &str, device: &str) -> Result<(), String> {
    let bytes = large(1);
    let image = image(name, &bytes, &[])?;
    let drive = drive(0, &image, ",read-only=on", device);
    expect(&boot(&format!("{machine}{drive}"), "", &image)?, &[&sum(&bytes), STATUS])
}

/// A disk with other bytes comes first.
fn second() -> Result<(), String> {
    let bytes = large(2);
    let image = image("second", &bytes, &[])?;
    let first = paths::work().join("paged-first");
    fs::write(&first, large(3)).map_err(|e| e.to_string())?;
    let drives =
        drive(0, &first, "", "virtio-blk-pci") + &drive(1, &image, ",read-only=on", "virtio-blk-pci");
    expect(&boot(&format!("{Q35}{drives}"), "", &image)?, &[&sum(&bytes), STATUS])
}

/// Boots an image with a disk, or without one; it says why it can't be used, and ends.
fn refused(image: &Path, disk: Option<&Path>, why: &str) -> Result<(), String> {
    let drive = disk.map_or_else(String::new, |disk| drive(0, disk, "", "virtio-blk-pci"));
    let outcome = boot(&format!("{Q35}{drive}"), "log=info", image)?;
    expect(&outcome, &["the files of the image can't be read", why, "exit status 125"])
}

fn missing() -> Result<(), String> {
    let image = image("missing", &large(4), &[])?;
    let why = "no disk of this machine has them";
    refused(&image, None, why)?;
    let empty = paths::work().join("paged-empty");
    fs::write(&empty, vec![0; 8 << 20]).map_err(|e| e.to_string())?;
    refused(&image, Some(&empty), why)
}

/// The same names and sizes, other bytes.
fn other() -> Result<(), String> {
    let image_of = |name, seed| image(name, &large(seed), &[]);
    refused(&image_of("one", 5)?, Some(&image_of("other", 6)?), "the files of another build")
}

fn cut() -> Result<(), String> {
    let image = image("cut", &large(7), &[])?;
    let disk = image.with_extension("cut");
    let bytes = fs::read(&image).map_err(|e| e.to_string())?;
    fs::write(&disk, &bytes[..bytes.len() - PAGE]).map_err(|e| e.to_string())?;
    refused(&image, Some(&disk), "cut short")
}

/// Where the bad page is in the file of an image with these bytes.
fn bad_place(image: &Path, bytes: &[u8]) -> Result<usize, String> {
    let all = fs::read(image).map_err(|e| e.to_string())?;
    let page = &bytes[BAD..BAD + PAGE];
    let places = (0..all.len()).step_by(PAGE).find(|&at| all[at..].starts_with(page));
    places.ok_or_else(|| "the page is not in the image".into())
}

fn damaged() -> Result<(), String> {
    let bytes = large(8);
    let image = image("damaged", &bytes, &[&BAD.to_string()])?;
    let disk = image.with_extension("damaged");
    let mut all = fs::read(&image).map_err(|e| e.to_string())?;
    all[bad_place(&image, &bytes)? + 17] ^= 1;
    fs::write(&disk, all).map_err(|e| e.to_string())?;
    for machine in [Q35, TWO] {
        let drive = drive(0, &disk, "", "virtio-blk-pci");
        let outcome = boot(&format!("{machine}{drive}"), "", &image)?;
        expect(&outcome, &MET)?;
        expect(&outcome, &["the image is damaged", "`large` is in, has a wrong checksum"])?;
    }
    Ok(())
}

fn errors() -> Result<(), String> {
    let bytes = large(9);
    let image = image("errors", &bytes, &[&BAD.to_string()])?;
    let sector = bad_place(&image, &bytes)? / 512;
    let rules = image.with_extension("rules");
    let rule = format!(
        "[inject-error]\nevent = \"none\"\niotype = \"read\"\nerrno = \"5\"\nsector = \"{sector}\"\n"
    );
    fs::write(&rules, rule).map_err(|e| e.to_string())?;
    let drive = format!(
        " -drive if=none,id=d0,driver=blkdebug,config={},image.driver=raw,image.file.driver=file,image.file.filename={},werror=report,rerror=report \
         -device virtio-blk-pci,drive=d0",
        rules.display(),
        image.display()
    );
    for machine in [Q35, TWO] {
        expect(&boot(&format!("{machine}{drive}"), "", &image)?, &MET)?;
    }
    Ok(())
}
