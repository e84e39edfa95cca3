//! Devices on PCI Express of QEMU's `virt` for aarch64, whose firmware leaves them as they are: no register has an address.
//! Interrupts are messages with a controller of version 2, and lines that devices share with one of version 3.
use crate::{Case, cards, disks, volumes};

const TWO: &str = "-machine virt,gic-version=2 -cpu max,pauth-impdef=on -smp 2";
const THREE: &str = "-machine virt,gic-version=3,its=off -cpu max,pauth-impdef=on";
const CARD: &str = "virtio-net-pci,romfile=";

pub const CASES: &[Case] = &[
    case("card_on_virt_gic2", || cards::on_user_network(TWO, CARD)),
    case("card_on_virt_gic3", || cards::on_user_network(THREE, CARD)),
    case("card_on_virt_without_messages", || {
        cards::on_user_network(TWO, "virtio-net-pci,disable-legacy=on,romfile=,vectors=0")
    }),
    Case {
        name: "card_on_virt_tap",
        test: || cards::on_tap(THREE, "virtio-net-pci,disable-legacy=on,romfile="),
        tap: true,
    },
    // With 32-bit addresses, configuration space is below 4 GiB, and for 16 buses.
    case("card_on_virt_below_4_gib", || {
        cards::on_user_network(&format!("{THREE} -machine highmem=off"), CARD)
    }),
    // Pins of every fourth device lead to one line: three drivers take its interrupts. The console without a port is given up.
    case("card_on_virt_with_shared_line", || {
        let disk = "-blockdev null-co,node-name=disk,size=1048576,read-zeroes=on -device nvme,serial=one,drive=disk,addr=9";
        let others = format!(
            "-device virtio-rng-pci,disable-legacy=on,addr=1 -device virtio-serial-pci,addr=0xd {disk}"
        );
        cards::on_user_network(&format!("{THREE} {others}"), "virtio-net-pci,romfile=,addr=5")
    }),
    case("disk_on_virt_gic2", || disks::survives("virt_gic2", TWO, "virtio-blk-pci", 512)),
    case("disk_on_virt_gic3", || disks::survives("virt_gic3", THREE, "virtio-blk-pci", 512)),
    case("disk_on_virt_nvme_gic2", || disks::survives("nvme_virt_gic2", TWO, "nvme,serial=one", 512)),
    case("disk_on_virt_nvme_gic3", || disks::survives("nvme_virt_gic3", THREE, "nvme,serial=one", 512)),
    case("volume_on_virt_gic2", || volumes::survives("virt_gic2", TWO, "4096")),
    case("volume_on_virt_nvme_gic3", || volumes::survives("nvme_virt_gic3", THREE, "4096")),
];

const fn case(name: &'static str, test: fn() -> Result<(), String>) -> Case {
    Case { name, test, tap: false }
}
