//! Network cards with other features than those that `coracle run` makes.
use crate::Case;
use coracle_tests::apps::ANSWER;
use coracle_tests::build::Target;
use coracle_tests::guest::Server;
use coracle_tests::netns::{self, Namespace};
use coracle_tests::ports;
use coracle_tests::{aarch64, bare};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    // Devices on a tap offer to join received packets (GUEST_TSO4); these can't spread them over buffers.
    Case {
        name: "joined_packets_without_mergeable_buffers_pci",
        test: || on_tap("-machine q35 -cpu max", "virtio-net-pci,mrg_rxbuf=off,disable-legacy=on"),
        tap: true,
    },
    Case {
        name: "joined_packets_without_mergeable_buffers_mmio",
        test: || {
            on_tap(
                "-machine microvm -cpu max -global virtio-mmio.force-legacy=false",
                "virtio-net-device,mrg_rxbuf=off",
            )
        },
        tap: true,
    },
    // Where ACPI is on, QEMU's microvm names its devices there and not on the command line.
    Case {
        name: "card_that_acpi_names",
        test: || {
            on_user_network(
                "-machine microvm -cpu max -global virtio-mmio.force-legacy=false",
                "virtio-net-device",
            )
        },
        tap: false,
    },
    // Without ACPI, it names them on the command line.
    Case {
        name: "card_that_the_command_line_names",
        test: || {
            on_user_network(
                "-machine microvm,acpi=off -cpu max -global virtio-mmio.force-legacy=false",
                "virtio-net-device",
            )
        },
        tap: false,
    },
    // `coracle run` makes this machine with another firmware. Neither gives addresses to the card's registers.
    Case {
        name: "card_on_pci_express_without_ports",
        test: || {
            on_user_network("-machine microvm,pcie=on -cpu max", "virtio-net-pci,disable-legacy=on,romfile=")
        },
        tap: false,
    },
    Case {
        name: "card_behind_a_bridge",
        test: || {
            on_user_network(
                "-machine q35 -cpu max -device pcie-root-port,id=outer,slot=1 -device pcie-pci-bridge,id=inner,bus=outer",
                "virtio-net-pci,bus=inner,addr=3,romfile=",
            )
        },
        tap: false,
    },
    Case {
        name: "card_behind_another_root_bus",
        test: || {
            on_user_network(
                "-machine q35 -cpu max -device pxb-pcie,id=root,bus_nr=128 -device pcie-root-port,id=outer,bus=root,slot=1",
                "virtio-net-pci,bus=outer,romfile=",
            )
        },
        tap: false,
    },
    // A feature that needs one that is not offered.
    Case {
        name: "segmentation_without_checksums",
        test: || on_tap("-machine q35 -cpu max", "virtio-net-pci,csum=off,guest_csum=off,disable-legacy=on"),
        tap: true,
    },
    Case {
        name: "no_features_at_all",
        test: || {
            on_user_network(
                "-machine q35 -cpu max",
                "virtio-net-pci,disable-legacy=on,mrg_rxbuf=off,csum=off,guest_csum=off,gso=off,indirect_desc=off,\
                 event_idx=off,status=off,vectors=0",
            )
        },
        tap: false,
    },
    // Legacy interfaces. On q35 interrupts are messages, which moves the configuration.
    Case {
        name: "legacy_card_on_q35",
        test: || on_tap("-machine q35 -cpu max", "virtio-net-pci,disable-modern=on"),
        tap: true,
    },
    Case {
        name: "legacy_card_on_pc_without_messages",
        test: || on_user_network("-machine pc -cpu max", "virtio-net-pci,disable-modern=on,vectors=0"),
        tap: false,
    },
    // The queue's size is the device's.
    Case {
        name: "legacy_card_with_long_queues",
        test: || {
            on_user_network(
                "-machine q35 -cpu max",
                "virtio-net-pci,disable-modern=on,rx_queue_size=1024,tx_queue_size=1024",
            )
        },
        tap: false,
    },
    // Headers of ten bytes.
    Case {
        name: "legacy_card_without_mergeable_buffers",
        test: || on_tap("-machine pc -cpu max", "virtio-net-pci,disable-modern=on,mrg_rxbuf=off"),
        tap: true,
    },
    // Headers in descriptors of their own, of twelve bytes and of ten.
    Case {
        name: "legacy_card_with_headers_apart",
        test: || on_tap("-machine q35 -cpu max", "virtio-net-pci,disable-modern=on,any_layout=off"),
        tap: true,
    },
    Case {
        name: "legacy_card_with_short_headers_apart",
        test: || {
            on_user_network(
                "-machine q35 -cpu max",
                "virtio-net-pci,disable-modern=on,any_layout=off,mrg_rxbuf=off,indirect_desc=off,event_idx=off",
            )
        },
        tap: false,
    },
    Case {
        name: "legacy_card_behind_a_bridge",
        test: || {
            on_user_network(
                "-machine q35 -cpu max -device pcie-root-port,id=outer,slot=1 -device pcie-pci-bridge,id=inner,bus=outer",
                "virtio-net-pci,disable-modern=on,bus=inner,addr=3,romfile=",
            )
        },
        tap: false,
    },
    Case {
        name: "legacy_card_of_microvm",
        test: || on_tap("-machine microvm -cpu max -global virtio-mmio.force-legacy=on", "virtio-net-device"),
        tap: true,
    },
    Case {
        name: "legacy_card_of_microvm_without_mergeable_buffers",
        test: || {
            on_user_network(
                "-machine microvm,acpi=off -cpu max -global virtio-mmio.force-legacy=on",
                "virtio-net-device,mrg_rxbuf=off",
            )
        },
        tap: false,
    },
    Case { name: "legacy_console_and_entropy_pci", test: || console_and_entropy(LEGACY_PCI), tap: false },
    Case { name: "legacy_console_and_entropy_mmio", test: || console_and_entropy(LEGACY_MMIO), tap: false },
];

/// Machines with a console and a source of entropy, both legacy devices.
const LEGACY_PCI: &str = "-machine q35 -cpu max -m 128M -device virtio-rng-pci,disable-modern=on \
     -device virtio-serial-pci,disable-modern=on";
const LEGACY_MMIO: &str = "-machine microvm -cpu max -m 128M -global virtio-mmio.force-legacy=on \
     -device virtio-rng-device -device virtio-serial-device";

/// How long the server may take until it answers.
const START: Duration = Duration::from_secs(90);
/// More than a joined packet.
const VALUE_BYTES: usize = 300_000;

fn image(machine: &str) -> Result<PathBuf, String> {
    let (program, arguments) = (Path::new("/usr/bin/memcached"), ["-m", "16", "-t", "1", "-u", "root"]);
    match bare::target(machine) {
        Target::Host => bare::image("cards", program, &arguments),
        Target::Aarch64 => {
            let root = aarch64::root()?;
            let options = |command: &mut Command| aarch64::with_root(command, &root);
            bare::image_with("cards-aarch64", program, &arguments, options)
        }
    }
}

/// Memory of a machine: Debian's tree of arm64 holds other servers as well.
fn memory(machine: &str) -> &'static str {
    match bare::target(machine) {
        Target::Host => "128M",
        Target::Aarch64 => "256M",
    }
}

/// A value that is longer than any packet goes there and back.
fn exchange(address: SocketAddr, server: &mut Server) -> Result<(), String> {
    let start = Instant::now();
    let stream = loop {
        // QEMU's user network accepts before the guest is there: an answer counts.
        match TcpStream::connect_timeout(&address, ANSWER).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"version\r\n")?;
            let mut word = [0; 7];
            stream.read_exact(&mut word).map(|()| stream)
        }) {
            Ok(stream) => break stream,
            Err(_) if !server.is_running() => return Err(format!("the guest ended: {}", server.log())),
            Err(e) if start.elapsed() > START => return Err(format!("no answer ({e}): {}", server.log())),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    stream.set_read_timeout(Some(ANSWER)).map_err(|e| e.to_string())?;
    let mut stream = BufReader::new(stream);
    let value: Vec<u8> = (0..VALUE_BYTES).map(|i| b'a' + (i * 7 / 3 % 26) as u8).collect();
    let talk = |stream: &mut BufReader<TcpStream>| -> std::io::Result<bool> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        write!(stream.get_mut(), "set k 0 0 {VALUE_BYTES}\r\n")?;
        stream.get_mut().write_all(&value)?;
        stream.get_mut().write_all(b"\r\nget k\r\n")?;
        line.clear();
        stream.read_line(&mut line)?;
        stream.read_line(&mut line)?;
        let mut back = vec![0; VALUE_BYTES];
        stream.read_exact(&mut back)?;
        Ok(line.starts_with("STORED\r\nVALUE k ") && back == value)
    };
    match talk(&mut stream) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("another value came back: {}", server.log())),
        Err(e) => Err(format!("talking to the guest: {e}: {}", server.log())),
    }
}

pub fn on_tap(machine: &str, card: &str) -> Result<(), String> {
    let image = image(machine)?;
    let namespace = Namespace::new(false)?;
    namespace.enter(|| {
        let netdev = format!("-netdev tap,id=net,ifname={},script=no,downscript=no", netns::TAP);
        let machine = format!("{machine} -m {} {netdev} -device {card},netdev=net", memory(machine));
        let words = format!("ip={}/24 gw={}", netns::GUEST, netns::HOST);
        let mut server = Server::start(&mut bare::qemu(&machine, &words, &image))?;
        exchange(SocketAddr::from((netns::GUEST, 11211)), &mut server)
    })
}

pub fn on_user_network(machine: &str, card: &str) -> Result<(), String> {
    let image = image(machine)?;
    let port = ports::free()?;
    let netdev = format!("-netdev user,id=net,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:11211");
    let machine = format!("{machine} -m {} {netdev} -device {card},netdev=net", memory(machine));
    let mut server = Server::start(&mut bare::qemu(&machine, "ip=10.0.2.15/24 gw=10.0.2.2", &image))?;
    exchange(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &mut server)
}

/// The output of a program comes over the console; what the kernel says of devices, over the serial port.
fn console_and_entropy(machine: &str) -> Result<(), String> {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done";
    let image = bare::image("legacy-console", Path::new("/bin/busybox"), &["ash", "-c", script])?;
    let output = image.with_extension(format!("{}.out", if machine == LEGACY_PCI { "pci" } else { "mmio" }));
    let console = format!("-chardev file,id=out,path={} -device virtconsole,chardev=out", output.display());
    let outcome = bare::boot(&format!("{machine} {console} -no-reboot"), "ip=none log=info", &image)?;
    let written = std::fs::read_to_string(&output).map_err(|e| e.to_string())?;
    let expected: String = (0..3000).map(|i| format!("line {i}\n")).collect();
    if written.replace('\r', "") != expected {
        return Err(format!("{} bytes on the console: {}", written.len(), outcome.evidence()));
    }
    if outcome.text().contains("can't be used") {
        return Err(format!("a device was refused: {}", outcome.evidence()));
    }
    Ok(())
}
