//! /proc/sys (proc(5)): limits and settings. Those that programs write are taken where they change nothing here.
use super::system::{RELEASE, VERSION};
use coracle_core::errno::Errno;
use coracle_core::fs::access::{capability, check_capability_in};
use coracle_core::fs::descriptors::MAX_LIMIT;
use coracle_core::fs::file::description_bounds;
use coracle_core::fs::leases;
use coracle_core::fs::notify;
use coracle_core::fs::pty_limit;
use coracle_core::ipc::pipe;
use coracle_core::task::perf::PARANOID;
use coracle_core::task::process::PID_MAX;
use coracle_core::task::slice;
use coracle_core::task::uts;
use coracle_fallible::{NoMemory, Text};
use coracle_fs::synthetic::{Item, Table};
use coracle_hal::frame;
use coracle_hal::sync::atomic::{AtomicU32, Ordering::Relaxed};
use coracle_ipc::aio;
use coracle_ipc::mqueue::tree;
use coracle_ipc::sysv::{messages, segments, tables};
use coracle_mqueue::Attributes;
use coracle_net::{fast_open, raw};
use core::fmt;

/// A random version-4 UUID (RFC 9562, section 5.4).
struct Uuid {
    high: u64,
    low: u64,
}

impl Uuid {
    fn new() -> Uuid {
        Uuid { high: coracle_core::random::u64(), low: coracle_core::random::u64() }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Uuid { high, low } = self;
        write!(
            f,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }
}

fn hostname(_: &(), text: &mut Text) -> Result<(), NoMemory> {
    text.push(&uts::hostname())?;
    text.push(b"\n")
}
fn set_hostname(_: &(), name: &[u8]) -> Result<(), Errno> {
    check_capability_in(uts::own().and_then(|uts| uts.owner.clone()).as_ref(), capability::SYS_ADMIN)?;
    uts::set_hostname(name.trim_ascii());
    Ok(())
}

/// Open file descriptions, those that are free, of which none are kept, and how many there may be (proc_sys_fs(5)).
fn file_count(_: &(), text: &mut Text) -> Result<(), NoMemory> {
    let (count, most) = description_bounds();
    writeln!(text, "{count}\t0\t{most}")
}

/// Two numbers: the first and the last group. EINVAL.
fn set_ping_groups(bytes: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::INVAL)?;
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u32>().map_err(|_| Errno::INVAL));
    let mut next = || numbers.next().ok_or(Errno::INVAL)?;
    raw::set_ping_groups(next()?, next()?);
    Ok(())
}

/// The right to count events (perf_event_open(2)). EINVAL.
fn set_paranoid(_: &(), bytes: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(bytes.trim_ascii()).map_err(|_| Errno::INVAL)?;
    let level: i32 = text.parse().map_err(|_| Errno::INVAL)?;
    PARANOID.store(level.max(0) as u32, Relaxed);
    Ok(())
}

/// EINVAL for what is no number of 31 bits.
fn set_number(value: &AtomicU32, bytes: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(bytes.trim_ascii()).map_err(|_| Errno::INVAL)?;
    value.store(
        text.parse::<i32>().ok().and_then(|number| number.try_into().ok()).ok_or(Errno::INVAL)?,
        Relaxed,
    );
    Ok(())
}

/// A setting that is accepted, and has no effect on this kernel.
fn accept(_: &(), _: &[u8]) -> Result<(), Errno> {
    Ok(())
}

static BOOT_ID: coracle_hal::once::Once<Uuid> = coracle_hal::once::Once::new();

macro_rules! text {
    ($value:expr) => {
        Item::Line(&$value)
    };
}
macro_rules! setting {
    ($value:expr) => {
        Item::Ignored(&$value)
    };
}
/// A number of 31 bits that is kept.
macro_rules! number {
    ($value:expr) => {
        Item::Setting(
            |(), text| writeln!(text, "{}", $value.load(Relaxed)),
            |(), bytes| set_number(&$value, bytes),
        )
    };
}
/// A limit of inotify(7) or fanotify(7).
macro_rules! limit {
    ($family:ident.$limit:ident) => {
        Item::Setting(
            |(), text| writeln!(text, "{}", notify::$family.$limit.get()),
            |(), bytes| notify::$family.$limit.set(bytes),
        )
    };
}

/// The items.
pub static SYS: Table<()> = &[
    (
        "kernel",
        Item::Directory(&[
            ("hostname", Item::Setting(hostname, set_hostname)),
            ("domainname", text!("(none)")),
            ("ostype", text!("Linux")),
            ("osrelease", text!(RELEASE)),
            ("version", text!(VERSION)),
            ("pid_max", setting!(PID_MAX)),
            ("threads-max", Item::Setting(|(), text| writeln!(text, "{}", frame::total() / 8), accept)),
            ("ngroups_max", text!(65_536)),
            ("cap_last_cap", text!(40)),
            ("core_pattern", setting!("core")),
            ("core_uses_pid", setting!(0)),
            ("randomize_va_space", setting!(2)),
            (
                "perf_event_paranoid",
                Item::Setting(|(), text| writeln!(text, "{}", PARANOID.load(Relaxed) as i32), set_paranoid),
            ),
            ("overflowuid", text!(65_534)),
            ("overflowgid", text!(65_534)),
            (
                "pty",
                Item::Directory(&[
                    (
                        "max",
                        Item::Setting(
                            |(), text| writeln!(text, "{}", pty_limit::most()),
                            |(), bytes| pty_limit::set_most(bytes),
                        ),
                    ),
                    ("nr", Item::Text(|(), text| writeln!(text, "{}", pty_limit::count()))),
                    ("reserve", text!(pty_limit::RESERVE)),
                ]),
            ),
            ("tainted", text!(0)),
            ("sched_rt_period_us", text!(slice::REAL_TIME_US.0)),
            ("sched_rt_runtime_us", text!(slice::REAL_TIME_US.1)),
            ("yama", Item::Directory(&[("ptrace_scope", setting!(0))])),
            ("msgmax", text!(messages::MAX_MESSAGE)),
            ("msgmnb", text!(messages::DEFAULT_CAPACITY)),
            ("msgmni", text!(messages::MAX_QUEUES)),
            ("sem", Item::Text(|(), text| tables::semaphore_limits(text))),
            ("shmall", Item::Text(|(), text| writeln!(text, "{}", segments::max_pages()))),
            ("shmmax", text!(segments::MAX_BYTES)),
            ("shmmni", text!(segments::MAX_SEGMENTS)),
            ("sched_rr_timeslice_ms", text!(100)),
            (
                "random",
                Item::Directory(&[
                    ("boot_id", Item::Text(|(), text| writeln!(text, "{}", BOOT_ID.call_once(Uuid::new)))),
                    ("uuid", Item::Text(|(), text| writeln!(text, "{}", Uuid::new()))),
                    ("entropy_avail", text!(256)),
                    ("poolsize", text!(256)),
                ]),
            ),
        ]),
    ),
    (
        "vm",
        Item::Directory(&[
            ("overcommit_memory", setting!(1)),
            ("overcommit_ratio", setting!(50)),
            ("max_map_count", setting!(65_530)),
            ("mmap_min_addr", text!(65_536)),
            ("swappiness", setting!(0)),
            ("nr_hugepages", setting!(0)),
            ("drop_caches", setting!(0)),
            ("legacy_va_layout", text!(0)),
            ("nr_overcommit_hugepages", text!(0)),
            ("oom_kill_allocating_task", text!(0)),
            ("panic_on_oom", text!(0)),
        ]),
    ),
    (
        "net",
        Item::Directory(&[
            (
                "core",
                Item::Directory(&[
                    ("somaxconn", setting!(4096)),
                    ("rmem_default", setting!(212_992)),
                    ("rmem_max", setting!(212_992)),
                    ("wmem_default", setting!(212_992)),
                    ("wmem_max", setting!(212_992)),
                    ("netdev_max_backlog", setting!(1000)),
                    ("optmem_max", setting!(20_480)),
                ]),
            ),
            (
                "ipv4",
                Item::Directory(&[
                    ("ip_local_port_range", setting!("32768\t60999")),
                    (
                        "ping_group_range",
                        Item::Setting(
                            |(), text| {
                                let (first, last) = raw::ping_groups();
                                writeln!(text, "{first}\t{last}")
                            },
                            |(), bytes| set_ping_groups(bytes),
                        ),
                    ),
                    ("ip_forward", setting!(0)),
                    ("ip_default_ttl", text!(64)),
                    ("ip_unprivileged_port_start", text!(0)),
                    ("icmp_echo_ignore_all", text!(0)),
                    (
                        "tcp_fastopen",
                        Item::Setting(
                            |(), text| writeln!(text, "{}", fast_open::setting()),
                            |(), bytes| fast_open::set_setting(bytes),
                        ),
                    ),
                    ("tcp_syncookies", setting!(1)),
                    ("tcp_max_syn_backlog", setting!(4096)),
                    ("tcp_fin_timeout", setting!(60)),
                    ("tcp_keepalive_time", setting!(7200)),
                    ("tcp_keepalive_intvl", setting!(75)),
                    ("tcp_keepalive_probes", setting!(9)),
                    ("tcp_tw_reuse", setting!(2)),
                    ("tcp_rmem", setting!("4096\t131072\t6291456")),
                    ("tcp_wmem", setting!("4096\t16384\t4194304")),
                    ("tcp_congestion_control", setting!("cubic")),
                    ("tcp_available_congestion_control", text!("reno cubic")),
                    ("tcp_timestamps", setting!(1)),
                    ("tcp_sack", setting!(1)),
                    ("tcp_window_scaling", setting!(1)),
                ]),
            ),
            ("unix", Item::Directory(&[("max_dgram_qlen", setting!(512))])),
        ]),
    ),
    (
        "fs",
        Item::Directory(&[
            ("file-max", Item::Setting(|(), text| writeln!(text, "{}", description_bounds().1), accept)),
            (
                "inotify",
                Item::Directory(&[
                    ("max_queued_events", limit!(INOTIFY.events)),
                    ("max_user_instances", limit!(INOTIFY.instances)),
                    ("max_user_watches", limit!(INOTIFY.watches)),
                ]),
            ),
            (
                "fanotify",
                Item::Directory(&[
                    ("max_queued_events", limit!(FANOTIFY.events)),
                    ("max_user_groups", limit!(FANOTIFY.instances)),
                    ("max_user_marks", limit!(FANOTIFY.watches)),
                ]),
            ),
            ("lease-break-time", number!(leases::BREAK_TIME_S)),
            ("leases-enable", number!(leases::ENABLED)),
            ("aio-max-nr", text!(aio::MOST_REQUESTS)),
            ("aio-nr", Item::Text(|(), text| writeln!(text, "{}", aio::requests()))),
            ("file-nr", Item::Text(file_count)),
            ("nr_open", setting!(MAX_LIMIT)),
            ("pipe-max-size", setting!(pipe::MAX_CAPACITY)),
            ("suid_dumpable", setting!(0)),
            ("protected_hardlinks", setting!(0)),
            ("protected_symlinks", setting!(0)),
            ("protected_fifos", text!(0)),
            ("protected_regular", text!(0)),
            ("overflowuid", text!(65_534)),
            ("overflowgid", text!(65_534)),
            ("epoll", Item::Directory(&[("max_user_watches", setting!(1_048_576))])),
            (
                "mqueue",
                Item::Directory(&[
                    ("queues_max", text!(tree::MAX_QUEUES)),
                    ("msg_max", text!(Attributes::MAX.messages)),
                    ("msgsize_max", text!(Attributes::MAX.message_bytes)),
                    ("msg_default", text!(Attributes::MAX.messages)),
                    ("msgsize_default", text!(Attributes::MAX.message_bytes)),
                ]),
            ),
        ]),
    ),
];
