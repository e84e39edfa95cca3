//! Paths: of files that programs make, and of those that every guest has.

use super::maker::Maker;

/// Names below the program's own directory. They are few, so that calls meet each other.
const OWN: &[&str] = &[
    "f0",
    "f1",
    "f2",
    "d0",
    "d1",
    "d0/f0",
    "d0/d1",
    "d0/d1/f1",
    "d0/d1/d2",
    "d0/d1/d2/d3",
    "l0",
    "l1",
    "l0/f0",
    "s0",
    "p0",
    "d0/../f0",
    "d0/.",
    "./d1/",
    "f0/",
    "d0//d1",
    "d0/l0/d1",
    "d1/d0/f0",
];
/// Names of the system.
const SYSTEM: &[&str] = &[
    "",
    ".",
    "..",
    "/",
    "/tmp",
    "/tmp/w",
    "/tmp/w/f0",
    "/tmp/w/d0",
    "/dev",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/console",
    "/dev/tty",
    "/dev/pts",
    "/dev/ptmx",
    "/dev/pts/0",
    "/dev/pts/ptmx",
    "/dev/shm",
    "/dev/shm/m",
    "/dev/fd/5",
    "/dev/stdin",
    "/proc",
    "/proc/self",
    "/proc/self/maps",
    "/proc/self/smaps",
    "/proc/self/mem",
    "/proc/self/fd",
    "/proc/self/fd/3",
    "/proc/self/fd/4",
    "/proc/self/fd/6",
    "/proc/self/fd/9",
    "/proc/self/fdinfo/12",
    "/proc/self/exe",
    "/proc/self/cwd",
    "/proc/self/root",
    "/proc/self/stat",
    "/proc/self/status",
    "/proc/self/statm",
    "/proc/self/comm",
    "/proc/self/cmdline",
    "/proc/self/environ",
    "/proc/self/auxv",
    "/proc/self/limits",
    "/proc/self/mounts",
    "/proc/self/mountinfo",
    "/proc/self/oom_score_adj",
    "/proc/self/task",
    "/proc/thread-self/comm",
    "/proc/1/stat",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/cpuinfo",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/version",
    "/proc/mounts",
    "/proc/filesystems",
    "/proc/net",
    "/proc/net/tcp",
    "/proc/net/udp",
    "/proc/net/unix",
    "/proc/net/dev",
    "/proc/sys",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/hostname",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/vm/overcommit_memory",
    "/sys",
    "/sys/devices/system/cpu/online",
    "/sys/class/net",
    "/etc",
    "/etc/passwd",
    "/etc/hosts",
    "/fuzz/executor",
    "/fuzz/batch",
    "/nothing",
];
/// Longest name (NAME_MAX) and path with its end (PATH_MAX), limits.h.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;

/// The bytes of a path, with the zero at its end.
pub fn make(maker: &mut Maker) -> Vec<u8> {
    let mut path = match maker.rng.u32(..20) {
        0..=12 => OWN[maker.rng.usize(..OWN.len())].as_bytes().to_vec(),
        13..=17 => SYSTEM[maker.rng.usize(..SYSTEM.len())].as_bytes().to_vec(),
        18 => {
            let mut path = OWN[maker.rng.usize(..OWN.len())].as_bytes().to_vec();
            path.push(b'/');
            path.extend_from_slice(OWN[maker.rng.usize(..OWN.len())].as_bytes());
            path
        }
        _ => match maker.rng.u32(..5) {
            0 => vec![b'n'; NAME_MAX + maker.rng.usize(..2)],
            1 => b"./".repeat(PATH_MAX / 2 - maker.rng.usize(..2)),
            2 => b"d0/".repeat(maker.rng.usize(1..200)),
            3 => vec![0xff, 0x80, b'/', 0xfe],
            _ => (0..maker.rng.usize(1..8)).map(|_| maker.rng.u8(1..)).collect(),
        },
    };
    path.push(0);
    path
}
