//! Laws of the kernel command line: what is built is read back; anything can be read.

use std::net::Ipv4Addr;

use coracle_image::cmdline::{
    CommandLine, Console, Control, ImagePlace, IpSetting, LogLevel, MmioDevice, Port, Reboot, Share, Tmpfs,
    Volume,
};
use coracle_image::{Access, Mode, Peer, SyslogServer, User};
use proptest::prelude::*;

fn ip() -> impl Strategy<Value = IpSetting> {
    prop_oneof![
        Just(IpSetting::Dhcp),
        Just(IpSetting::None),
        (any::<Ipv4Addr>(), 0..=32u8).prop_map(|(address, prefix)| IpSetting::Static(address, prefix)),
    ]
}

prop_compose! {
    fn command_line()(
        ip in prop::option::of(ip()),
        (gateway, dns) in any::<(Option<Ipv4Addr>, Vec<Ipv4Addr>)>(),
        (hostname, env, args) in any::<(Option<String>, Vec<Vec<u8>>, Vec<Vec<u8>>)>(),
        mode in prop::option::of(prop_oneof![Just(Mode::Unikernel), Just(Mode::Protected)]),
        access in prop::sample::select(Access::ALL.to_vec()),
        user in prop::option::of((0..u32::MAX, 0..u32::MAX).prop_map(|(uid, gid)| User { uid, gid })),
        devices in prop::collection::vec(any::<(u64, u64, u32)>(), 0..3),
        image in prop::option::of(any::<(u64, u64)>().prop_map(|(start, archive)| ImagePlace { start, archive })),
        control in prop::option::of(prop_oneof![Just(Control::Serial), any::<u16>().prop_map(Control::Debugcon)]),
        (poweroff, seed) in any::<(Option<u16>, Option<u64>)>(),
        (net_off, patch_off, secrets, fail_alloc, trace) in any::<(bool, bool, bool, Option<u64>, bool)>(),
        (recorder, metrics_port) in any::<(bool, Option<u16>)>(),
        (ntp, syslog) in servers(),
        (core, debug) in any::<(bool, bool)>(),
        log in prop_oneof![Just(LogLevel::Quiet), Just(LogLevel::Info), Just(LogLevel::Debug)],
        console in prop_oneof![Just(Console::Any), Just(Console::Serial), Just(Console::Virtio)],
        (ports, window) in (
            prop::collection::vec(prop::sample::select(Port::ALL.to_vec()), 0..5),
            prop::option::of(any::<(u16, u16)>()),
        ),
        volumes in prop::collection::vec(
            any::<(Vec<u8>, Vec<u8>, bool)>().prop_map(|(serial, path, read_only)| {
                Volume { serial, path: [b"/".as_slice(), &path].concat(), read_only }
            }),
            0..3,
        ),
        shares in prop::collection::vec(
            any::<(Vec<u8>, Vec<u8>, Vec<u8>)>().prop_map(|(tag, path, options)| {
                Share { tag, path: [b"/".as_slice(), &path].concat(), options }
            }),
            0..3,
        ),
        tmpfs in prop::collection::vec(
            any::<(Vec<u8>, Vec<u8>)>().prop_map(|(path, options)| {
                Tmpfs { path: [b"/".as_slice(), &path].concat(), options }
            }),
            0..3,
        ),
        reboot in prop::option::of(prop_oneof![Just(Reboot::Keyboard), Just(Reboot::TripleFault)]),
    ) -> CommandLine {
        let mmio_devices =
            devices.into_iter().map(|(size, base, irq)| MmioDevice { size, base, irq }).collect();
        CommandLine {
            ip, gateway, dns, hostname, env, args, mode, user, access, metrics_port, ntp, syslog, image, mmio_devices, control, poweroff, log, console, ports, window, seed, volumes, shares, tmpfs, secrets,
            fail_alloc, recorder, core, debug, net_off, patch_off, reboot, trace,
            unknown: vec![],
        }
    }
}

/// NTP servers, and what is said of syslog.
fn servers() -> impl Strategy<Value = (Vec<Peer>, Option<Option<SyslogServer>>)> {
    let peer =
        || ("[a-z][a-z0-9.-]{0,20}|fe80::[1-9]", 1..u16::MAX).prop_map(|(host, port)| Peer { host, port });
    let server = (any::<bool>(), peer()).prop_map(|(is_stream, peer)| SyslogServer { is_stream, peer });
    (prop::collection::vec(peer(), 0..3), prop::option::of(prop::option::of(server)))
}

proptest! {
    #[test]
    fn what_is_built_is_read(line in command_line()) {
        let text = line.to_string();
        prop_assert_eq!(ImagePlace::find(text.as_bytes()), line.image);
        prop_assert_eq!(CommandLine::parse(text.as_bytes()), line, "{}", text);
    }

    #[test]
    fn anything_can_be_read(bytes in any::<Vec<u8>>()) {
        let _ = (CommandLine::parse(&bytes), ImagePlace::find(&bytes));
    }
}

#[test]
fn as_qemu_writes_it() {
    let line = CommandLine::parse(
        b"arg=-m arg=a%20b  arg= env=A=b%3D virtio_mmio.device=512@0xfeb00e00:12 log=loud control=debugcon@0xe9 x\0y",
    );
    assert_eq!(line.args, [b"-m".as_slice(), b"a b", b""]);
    assert_eq!(line.env, [b"A=b="]);
    assert_eq!(line.mmio_devices, [MmioDevice { size: 512, base: 0xfeb0_0e00, irq: 12 }]);
    assert_eq!(line.control, Some(Control::Debugcon(0xe9)));
    assert_eq!(line.unknown, ["log=loud", "x"]);
}

#[test]
fn volumes() {
    let line = CommandLine::parse(
        b"volume=volume0:/data volume=a%3ab:/x:y%3Aro:ro volume=z volume=z:data volume=:/",
    );
    let volume = |serial: &[u8], path: &[u8], read_only| Volume {
        serial: serial.into(),
        path: path.into(),
        read_only,
    };
    assert_eq!(
        line.volumes,
        [volume(b"volume0", b"/data", false), volume(b"a:b", b"/x:y:ro", true), volume(b"", b"/", false)]
    );
    assert_eq!(line.unknown, ["volume=z", "volume=z:data"]);
}

#[test]
fn as_other_monitors_write_it() {
    // Firecracker's manual, its default, Cloud Hypervisor's manual, crosvm's default.
    for words in [
        "console=ttyS0 reboot=k panic=1 pci=off root=/dev/vda ro quiet",
        "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce",
        "console=hvc0 root=/dev/vda1 rw",
        "console=ttyS0,115200 panic=-1 rootfstype=ext4 init=/bin/sh tsc=reliable",
    ] {
        let line = CommandLine::parse(words.as_bytes());
        assert!(line.unknown.is_empty(), "{:?} of {words}", line.unknown);
    }
    assert_eq!(CommandLine::parse(b"console=hvc0").console, Console::Virtio);
    assert_eq!(CommandLine::parse(b"reboot=k").reboot, Some(Reboot::Keyboard));
    assert_eq!(CommandLine::parse(b"reboot=warm,t").reboot, Some(Reboot::TripleFault));
    assert_eq!(CommandLine::parse(b"console=tty7 rootless").unknown, ["console=tty7", "rootless"]);
}
