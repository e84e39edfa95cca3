//! Counts why guests leave the CPU to the hypervisor: by the tracepoints kvm:kvm_exit and kvm:kvm_userspace_exit of the
//! first level, while memcached boots, serves and idles.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::cpio::Archive;
use super::guests::machine;
use super::run::Machine;
use super::{first_level, linux_guest, packages, run};
use crate::matrix::Mode;
use crate::{bare, paths, wait};

/// Taps, and virtio-net in the first level's kernel, beside KVM's own modules.
const MODULES: [&str; 5] = ["tun", "tap", "vhost_iotlb", "vhost", "vhost_net"];
/// Time counts instructions, one a nanosecond: by the host's time everything is so slow that timers go off in the midst of an
/// operation. An idle machine is taken to its next timer at once.
const FIRST_LEVEL: Machine = Machine {
    accelerator: &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"],
    cpu: CPU,
    cpus: 1,
    words: "",
};
/// Where the guest's CPU is apart from the one of QEMU's network and of the client, so that packets come while it works. QEMU can't count
/// instructions then: only exits that timers have no part in mean something, those over many connections. The first level's CPUs poll,
/// because QEMU's emulated VMRUN forgets that `sti` holds interrupts back for one instruction, and one would sleep for ever.
const PARALLEL: Machine =
    Machine { accelerator: &["-accel", "tcg,thread=multi"], cpu: CPU, cpus: 2, words: "idle=poll" };
const CPU: &str = "max,svm=on,-xsave";
/// Puts the guest's CPU on the second one of the first level.
const PIN: &str = "while :; do
for t in /proc/[0-9]*/task/*; do
case \"$(cat $t/comm 2>/dev/null)\" in CPU*KVM) taskset -p 2 ${t##*/}; break 2;; esac
done; usleep 1000; done
";
/// The addresses of the first level and of a guest, and memcached's port.
const HOST: &str = "10.77.0.1/24";
const GUEST: &str = "10.77.0.2";
const PORT: u16 = 11211;
/// The server.
const MEMCACHED: &str = "/usr/bin/memcached";
/// The loads: connections and operations.
const LOADS: [(u32, u32); 2] = [(1, 1000), (64, 12_800)];
/// How long a guest idles, in seconds.
const IDLE_S: u32 = 10;
/// How often a machine is tried: an interrupt that the emulated SVM delivers twice may come where the kernel can't put it off.
const TRIES: u32 = 3;
/// How long one may take, in seconds of the host: a Linux guest boots for ten minutes on a busy one.
const LIMIT: Duration = Duration::from_secs(3600);

/// A machine that memcached serves on.
#[derive(Clone, Debug)]
pub struct Served {
    /// What it is called.
    pub name: String,
    system: System,
    kind: &'static str,
    card: &'static str,
    vhost: bool,
    parallel: bool,
}

/// What serves there.
#[derive(Clone, Copy, Debug)]
enum System {
    Coracle(Mode),
    /// Debian's kernel, the one of the first level, to compare with.
    Linux,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Coracle(mode) => mode.name(),
            System::Linux => "linux",
        }
    }
}

/// All machines whose name contains `filter`.
pub fn machines(filter: &str) -> Vec<Served> {
    let pci = "virtio-net-pci,disable-legacy=on,romfile=";
    let kinds = [
        ("microvm", "microvm", pci, false, false),
        ("microvm-vhost", "microvm", pci, true, false),
        ("microvm-mmio", "microvm-mmio", "virtio-net-device", false, false),
        ("q35", "q35", pci, false, false),
        ("q35-vhost", "q35", pci, true, false),
        ("q35-parallel", "q35", pci, false, true),
    ];
    let mut all = Vec::new();
    for system in [System::Coracle(Mode::Unikernel), System::Coracle(Mode::Protected), System::Linux] {
        for (name, kind, card, vhost, parallel) in kinds {
            // Debian's kernel has no driver for devices that no bus names.
            if !matches!(system, System::Linux) || kind == "q35" {
                all.push(Served {
                    name: format!("{}_{name}", system.name()),
                    system,
                    kind,
                    card,
                    vhost,
                    parallel,
                });
            }
        }
    }
    all.retain(|served| served.name.contains(filter));
    all
}

/// Exits so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// All, by reason.
    all: BTreeMap<u32, u64>,
    /// Those that reach user space, by reason.
    user: BTreeMap<u32, u64>,
    /// Those for a model-specific register, by its number.
    registers: BTreeMap<u32, u64>,
}

/// What happened between two snapshots, divided by a number of operations or seconds.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done: `boot`, `1 connection`, `64 connections`, `idle`.
    pub phase: String,
    /// Exits.
    pub exits: f64,
    /// Of these, to user space.
    pub user: f64,
    /// Exits by reason, the most frequent first.
    pub reasons: Vec<(String, f64)>,
}

/// Serves on the machines, one first level for each; `each` is given the rows of each.
///
/// # Errors
/// If the first level or an image can't be made, or a guest does not serve.
pub fn count(machines: &[Served], mut each: impl FnMut(&Served, &[Row])) -> Result<(), String> {
    let kernel = packages::kernel()?;
    let folder = paths::work().join("kvm");
    let load = load(&folder)?;
    let arguments = ["-m", "64", "-t", "1", "-u", "root"];
    let image = bare::image("bench-kvm", Path::new(MEMCACHED), &arguments)?;
    let needs_linux = machines.iter().any(|served| matches!(served.system, System::Linux));
    let linux =
        if needs_linux { linux_guest::initramfs(&kernel, MEMCACHED, &arguments, GUEST)? } else { Vec::new() };
    for served in machines {
        let (initramfs, log) = (folder.join("bench-initramfs"), folder.join("bench-first-level.log"));
        let mut archive = first_level::base(&kernel, &MODULES)?;
        let mut own = Archive::default();
        own.bytes("/init", 0o755, script(served).as_bytes());
        own.bytes("/bin/snapshot", 0o755, SNAPSHOT.as_bytes());
        let image = match served.system {
            System::Coracle(_) => &image,
            System::Linux => &kernel.image,
        };
        for (file, to) in [(&load, "/bin/load"), (image, "/guests/image")] {
            let bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
            own.bytes(to, 0o755, &bytes);
        }
        if matches!(served.system, System::Linux) {
            own.bytes("/guests/initramfs", 0o644, &linux);
        }
        archive.extend(own.finish());
        fs::write(&initramfs, archive).map_err(|e| e.to_string())?;
        let mut tries = 0;
        let rows = loop {
            let machine = if served.parallel { &PARALLEL } else { &FIRST_LEVEL };
            let said = boot(machine, &kernel.image, &initramfs, &log)?;
            tries += 1;
            match rows(&said) {
                Some(rows) => break rows,
                None if tries < TRIES => eprintln!("{}: ended early, is tried again", served.name),
                None => {
                    let log = fs::read_to_string(&log).unwrap_or_default();
                    let tail = log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
                    return Err(format!("{}: {said}\n{tail}", served.name));
                }
            }
        };
        each(served, &rows);
    }
    Ok(())
}

/// Compiles the client.
fn load(folder: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let output = folder.join("load");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nested/load.c");
    let made = Command::new("cc").args(["-O1", "-static", "-o"]).arg(&output).arg(&source).output();
    let made = made.map_err(|e| e.to_string())?;
    if made.status.success() { Ok(output) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
}

/// Says over the second serial port what was counted so far, under a label.
const SNAPSHOT: &str = "#!/bin/sh
events=/sys/kernel/tracing/events/kvm
{ echo \"@@$1\"; cat $events/kvm_exit/hist; echo @user; cat $events/kvm_userspace_exit/hist; \
echo @registers; cat $events/kvm_msr/hist; echo @end; } >/dev/ttyS1
";

/// What the first level does.
fn script(served: &Served) -> String {
    let vhost = if served.vhost { ",vhost=on" } else { "" };
    let host = if served.parallel { "taskset 1 " } else { "" };
    let mut text = first_level::prologue(&MODULES);
    let _ = write!(
        text,
        "mount -t tracefs none /sys/kernel/tracing
echo 'hist:keys=exit_reason:size=4096' >/sys/kernel/tracing/events/kvm/kvm_exit/trigger
echo 'hist:keys=reason' >/sys/kernel/tracing/events/kvm/kvm_userspace_exit/trigger
echo 'hist:keys=ecx:size=4096' >/sys/kernel/tracing/events/kvm/kvm_msr/trigger
snapshot start
{host}qemu-system-x86_64 -name guest,debug-threads=on {machine} -accel kvm -cpu host,-xsave -smp 1 -m {memory} -nodefaults -no-user-config -no-reboot \
-display none -serial none -chardev file,id=control,path=/tmp/control \
-device isa-debugcon,iobase=0xe9,chardev=control \
-netdev tap,id=net,ifname=tap0,script=no,downscript=no{vhost} -device {card},netdev=net \
-kernel /guests/image {rest} >/tmp/out 2>&1 &
{pin}while ! ip link set tap0 up 2>/dev/null; do usleep 10000; done
ip addr add {HOST} dev tap0
",
        pin = if served.parallel { PIN } else { "" },
        machine = machine(served.kind),
        card = served.card,
        memory = if matches!(served.system, System::Linux) { "512M" } else { "128M" },
        rest = match served.system {
            System::Coracle(mode) => {
                // A breakpoint of the guest stays armed on the CPU that it leaves (QEMU's emulated VMRUN).
                let patch = if served.parallel { " patch=off" } else { "" };
                format!("-append 'control=debugcon@0xe9 log=info mode={} ip={GUEST}/24{patch}'", mode.name())
            }
            System::Linux => {
                "-initrd /guests/initramfs -append 'quiet panic=-1 mitigations=off'".to_owned()
            }
        },
    );
    let _ = writeln!(
        text,
        "load() {{ {host}/bin/load \"$@\" || {{ echo failed; cat /tmp/out /tmp/control; }} >/dev/ttyS1; }}"
    );
    let _ = writeln!(text, "load {GUEST} {PORT} 1 1 'snapshot boot' :");
    for (connections, operations) in LOADS {
        let _ = writeln!(
            text,
            "load {GUEST} {PORT} {connections} {operations} 'snapshot before-{connections}' 'snapshot after-{connections}'"
        );
    }
    let _ = writeln!(text, "sleep 3\nsnapshot before-idle\nsleep {IDLE_S}\nsnapshot after-idle");
    text.push_str("cat /tmp/control >/dev/ttyS1\necho @@@ >/dev/ttyS1\nsleep 1\npoweroff -f\n");
    text
}

/// Boots the first level; returns what it said up to its end.
fn boot(machine: &Machine, kernel: &Path, initramfs: &Path, log: &Path) -> Result<String, String> {
    let mut child = run::start(machine, kernel, initramfs, log)?;
    let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let (send, receive) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in output.split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let mut said = String::new();
    while let Ok(line) = receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if line.trim_end() == "@@@" {
            break;
        }
        said.push_str(&line);
        said.push('\n');
    }
    wait::end(&mut child);
    let _ = reader.join();
    Ok(said)
}

/// The rows of a run; `None` if a snapshot is missing.
fn rows(said: &str) -> Option<Vec<Row>> {
    let snapshots = snapshots(said);
    let row = |phase: &str, from: &str, to: &str, divisor: u32| {
        let (from, to) = (snapshots.get(from)?, snapshots.get(to)?);
        let sum = |counts: &BTreeMap<u32, u64>| counts.values().sum::<u64>();
        let per = |before: u64, after: u64| (after - before) as f64 / f64::from(divisor);
        let named = |from: &BTreeMap<u32, u64>, to: &BTreeMap<u32, u64>, name: fn(u32) -> String| {
            let each = to.iter().map(|(key, after)| {
                let before = from.get(key).copied().unwrap_or(0);
                (name(*key), per(before, *after))
            });
            each.filter(|(_, exits)| *exits > 0.0).collect::<Vec<_>>()
        };
        let mut reasons = named(&from.all, &to.all, name);
        reasons.retain(|(name, _)| name != MSR);
        reasons.extend(named(&from.registers, &to.registers, register));
        reasons.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Some(Row {
            phase: phase.into(),
            exits: per(sum(&from.all), sum(&to.all)),
            user: per(sum(&from.user), sum(&to.user)),
            reasons,
        })
    };
    let mut rows = vec![row("boot", "start", "boot", 1)?];
    for (connections, operations) in LOADS {
        let (before, after) = (format!("before-{connections}"), format!("after-{connections}"));
        rows.push(row(&format!("{connections} connections, operation"), &before, &after, operations)?);
    }
    rows.push(row("idle, second", "before-idle", "after-idle", IDLE_S)?);
    Some(rows)
}

/// The parts of a snapshot, in their order.
enum Part {
    All,
    User,
    Registers,
}

/// The snapshots in what the first level said, by their labels.
fn snapshots(said: &str) -> BTreeMap<&str, Counts> {
    let mut found = BTreeMap::new();
    let mut now: Option<(&str, Counts, Part)> = None;
    for line in said.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("@@") {
            now = Some((label, Counts::default(), Part::All));
        } else if let Some((label, counts, part)) = &mut now {
            if line == "@user" {
                *part = Part::User;
            } else if line == "@registers" {
                *part = Part::Registers;
            } else if line == "@end" {
                found.insert(*label, std::mem::take(counts));
            } else if let Some((reason, hits)) = hits(line) {
                let map = match part {
                    Part::All => &mut counts.all,
                    Part::User => &mut counts.user,
                    Part::Registers => &mut counts.registers,
                };
                map.insert(reason, hits);
            }
        }
    }
    found
}

/// A line of a histogram: `{ exit_reason: 120 } hitcount: 7`.
fn hits(line: &str) -> Option<(u32, u64)> {
    let (key, hits) = line.strip_prefix('{')?.split_once("} hitcount:")?;
    let (_, reason) = key.split_once(':')?;
    Some((reason.trim().parse().ok()?, hits.trim().parse().ok()?))
}

/// A reason that is told by register.
const MSR: &str = "MSR";

/// What a model-specific register is for (Intel SDM volume 3, 11.12.1.2 and 11.5.4.1).
fn register(number: u32) -> String {
    match number {
        0x6e0 => "timer's deadline".into(),
        0x80b => "end of an interrupt".into(),
        0x80c..=0x8ff => format!("interrupt controller {number:#x}"),
        _ => format!("MSR {number:#x}"),
    }
}

/// What AMD calls a reason to leave the guest (AMD64 Architecture Programmer's Manual volume 2, appendix C).
fn name(reason: u32) -> String {
    let name = match reason {
        0x40..=0x5f => return format!("exception {}", reason - 0x40),
        0x60 => "interrupt of the host",
        0x61 => "NMI",
        0x64 => "interrupt window",
        0x72 => "cpuid",
        0x77 => "pause",
        0x78 => "hlt",
        0x7b => "port",
        0x7c => MSR,
        0x81 => "vmmcall",
        0x400 => "page fault or MMIO",
        _ => return format!("{reason:#x}"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_subtracted() {
        let snapshot = |label: &str, hlt: u32, msr: u32, user: u32| {
            format!(
                "@@{label}\n# event histogram\n\n{{ exit_reason:        120 }} hitcount:  {hlt}\n\
                 {{ exit_reason: 124 }} hitcount: {msr}\nTotals:\n    Hits: 9\n@user\n\
                 {{ reason:          6 }} hitcount:          {user}\n@registers\n\
                 {{ ecx:       1760 }} hitcount:          {msr}\n@end\nnoise\n"
            )
        };
        let said = [
            snapshot("start", 0, 0, 0),
            snapshot("boot", 5, 1, 2),
            snapshot("before-1", 10, 10, 2),
            snapshot("after-1", 1010, 2510, 502),
            snapshot("before-64", 1010, 2510, 502),
            snapshot("after-64", 7410, 2510, 502),
            snapshot("before-idle", 7410, 2510, 502),
            snapshot("after-idle", 7420, 2510, 502),
        ]
        .concat();
        let rows = rows(&said).unwrap();
        let figures: Vec<_> = rows.iter().map(|row| (row.exits, row.user)).collect();
        assert_eq!(figures, [(6.0, 2.0), (3.5, 0.5), (0.5, 0.0), (1.0, 0.0)]);
        assert_eq!(rows[1].reasons, [("timer's deadline".to_owned(), 2.5), ("hlt".to_owned(), 1.0)]);
        assert!(super::rows(&said.replace("after-idle", "lost")).is_none());
    }
}
