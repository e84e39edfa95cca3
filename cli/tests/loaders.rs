//! Loads an image as other virtual machine monitors do, with the loader that Firecracker and Cloud Hypervisor share
//! (rust-vmm's `linux-loader`): no test here starts a guest.

use std::fs;
use std::process::Command;

use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::{KernelLoader as _, KernelLoaderResult};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryMmap};

/// Where both monitors say that high memory starts; what lies below is theirs.
const HIGH_MEMORY: GuestAddress = GuestAddress(0x10_0000);
/// Memory of the guest.
const MEMORY: usize = 64 << 20;
/// The first byte of the kernel: `cld`.
const FIRST_INSTRUCTION: u8 = 0xfc;

fn load(image: &std::path::Path) -> (GuestMemoryMmap, KernelLoaderResult) {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
    let mut file = fs::File::open(image).unwrap();
    let loaded = Elf::load(&memory, None, &mut file, Some(HIGH_MEMORY)).unwrap();
    (memory, loaded)
}

#[test]
fn linux_loader_takes_an_image() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("true.img");
    let built = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(["build", "/bin/true", "-o"])
        .arg(&image)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let (memory, loaded) = load(&image);
    // Firecracker enters by the note where it finds one, older monitors at the entry of the header: both are one place.
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        panic!("no PVH note was found: {:?}", loaded.pvh_boot_cap)
    };
    assert_eq!(entry, loaded.kernel_load);
    assert!(entry >= HIGH_MEMORY);
    assert_eq!(memory.read_obj::<u8>(entry).unwrap(), FIRST_INSTRUCTION);
    // The archive is in memory as a whole: it is the end of what was loaded, and of the file.
    let bytes = fs::read(&image).unwrap();
    let start = bytes.chunks(4096).rposition(|page| page.starts_with(&coracle_image::MAGIC)).unwrap() * 4096;
    let mut archive = vec![0; bytes.len() - start];
    let place = GuestAddress(loaded.kernel_end - archive.len() as u64);
    memory.read_slice(&mut archive, place).unwrap();
    assert!(archive == bytes[start..], "the archive was not loaded as it stands in the file");
}
