//! What is measured.

/// How the values of a family go on (OpenMetrics, section on metric types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
}

/// What a number of a file counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// In so many of the family's units.
    Times(u64),
    /// In parts of the family's unit, of which there are ten to the power of this.
    Decimal(u32),
}

/// Where the values stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// In the line whose first word this is, as its second.
    Line(&'static str),
    /// In the first line, as its first word.
    First,
    /// In the first line, behind the slash.
    BehindSlash,
    /// In the lines of /proc/stat for each CPU: `cpu` and `mode` (busy or idle).
    Cpus,
    /// In the lines of /proc/meminfo: `kind`.
    Memory,
    /// In a line for each interface, as the word of this number behind the name: `device`.
    Interfaces(usize),
    /// In a line for each disk, as the word of this number behind the name: `device`.
    Disks(usize),
    /// In the line of values of a protocol, below its name in the line before.
    Protocol(&'static str, &'static str),
    /// One for each connection: `state`.
    Connections,
    /// In a line for each file system, as the word of this number; the first is its `path`.
    Volumes(usize),
    /// The number of names in the directory that are numbers.
    Numbers,
    /// Not in a file of the guest: the command knows it.
    Command,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, the unit at its end. That of a counter's samples has `_total` behind it.
    pub name: &'static str,
    /// How its values go on.
    pub kind: Kind,
    /// The unit: `seconds`, `bytes`, or none.
    pub unit: &'static str,
    /// What it means.
    pub help: &'static str,
    /// The file, or files.
    pub files: &'static [&'static str],
    /// Where in it.
    pub rule: Rule,
    /// What the numbers count in.
    pub scale: Scale,
}

const ONE: Scale = Scale::Times(1);
/// /proc counts CPU time in hundredths of a second, and time of disks in thousandths.
const TICKS: Scale = Scale::Decimal(2);
const MILLISECONDS: Scale = Scale::Decimal(3);
const KILOBYTES: Scale = Scale::Times(1024);
const SECTORS: Scale = Scale::Times(512);

const DEV: &[&str] = &["/proc/1/net/dev"];
const DISKS: &[&str] = &["/proc/diskstats"];
const SNMP: &[&str] = &["/proc/1/net/snmp"];
const STAT: &[&str] = &["/proc/stat"];
const VOLUMES: &[&str] = &["/proc/fs/volumes"];

const fn counter(
    name: &'static str,
    unit: &'static str,
    files: &'static [&'static str],
    rule: Rule,
    scale: Scale,
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Counter, unit, help, files, rule, scale }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    files: &'static [&'static str],
    rule: Rule,
    scale: Scale,
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Gauge, unit, help, files, rule, scale }
}

/// What a guest knows of itself.
pub const GUEST: &[Family] = &[
    gauge(
        "coracle_uptime_seconds",
        "seconds",
        &["/proc/uptime"],
        Rule::First,
        TICKS,
        "Time since the guest's boot.",
    ),
    counter("coracle_cpu_seconds", "seconds", STAT, Rule::Cpus, TICKS, "Time of each CPU, busy and idle."),
    counter(
        "coracle_context_switches",
        "",
        STAT,
        Rule::Line("ctxt"),
        ONE,
        "Switches from a thread to another.",
    ),
    counter(
        "coracle_forks",
        "",
        STAT,
        Rule::Line("processes"),
        ONE,
        "Processes and threads that were started.",
    ),
    gauge(
        "coracle_runnable_threads",
        "",
        STAT,
        Rule::Line("procs_running"),
        ONE,
        "Threads that run or wait for a CPU.",
    ),
    gauge("coracle_threads", "", &["/proc/loadavg"], Rule::BehindSlash, ONE, "Threads of all processes."),
    gauge("coracle_processes", "", &["/proc/"], Rule::Numbers, ONE, "Processes."),
    counter(
        "coracle_page_faults",
        "",
        &["/proc/vmstat"],
        Rule::Line("pgfault"),
        ONE,
        "Page faults that made or read a page.",
    ),
    gauge(
        "coracle_memory_bytes",
        "bytes",
        &["/proc/meminfo"],
        Rule::Memory,
        KILOBYTES,
        "Memory by kind: total, free, available (free, or cached and clean), cached, dirty, and anonymous (of programs and the kernel).",
    ),
    counter(
        "coracle_network_receive_bytes",
        "bytes",
        DEV,
        Rule::Interfaces(0),
        ONE,
        "Bytes received, by interface.",
    ),
    counter(
        "coracle_network_receive_packets",
        "",
        DEV,
        Rule::Interfaces(1),
        ONE,
        "Packets received, by interface; several that the device joined are one.",
    ),
    counter(
        "coracle_network_receive_errors",
        "",
        DEV,
        Rule::Interfaces(2),
        ONE,
        "Packets received that made no sense to the driver, by interface.",
    ),
    counter(
        "coracle_network_receive_drops",
        "",
        DEV,
        Rule::Interfaces(3),
        ONE,
        "Packets received that were dropped, for want of memory or because no protocol takes them, by interface.",
    ),
    counter(
        "coracle_network_transmit_bytes",
        "bytes",
        DEV,
        Rule::Interfaces(8),
        ONE,
        "Bytes sent, by interface.",
    ),
    counter(
        "coracle_network_transmit_packets",
        "",
        DEV,
        Rule::Interfaces(9),
        ONE,
        "Packets sent, by interface; one that the device cuts into several is one.",
    ),
    counter(
        "coracle_network_transmit_drops",
        "",
        DEV,
        Rule::Interfaces(11),
        ONE,
        "Packets to be sent that were dropped, for want of room in the device or of memory, by interface.",
    ),
    gauge(
        "coracle_tcp_connections",
        "",
        &["/proc/1/net/tcp", "/proc/1/net/tcp6"],
        Rule::Connections,
        ONE,
        "Connections of TCP by state, as in tcp(7); listening sockets are `listen`.",
    ),
    counter(
        "coracle_tcp_active_opens",
        "",
        SNMP,
        Rule::Protocol("Tcp:", "ActiveOpens"),
        ONE,
        "Connections that were begun here.",
    ),
    counter(
        "coracle_tcp_passive_opens",
        "",
        SNMP,
        Rule::Protocol("Tcp:", "PassiveOpens"),
        ONE,
        "Connections that were accepted.",
    ),
    counter(
        "coracle_tcp_failed_attempts",
        "",
        SNMP,
        Rule::Protocol("Tcp:", "AttemptFails"),
        ONE,
        "Connections that did not come about.",
    ),
    counter(
        "coracle_tcp_resets",
        "",
        SNMP,
        Rule::Protocol("Tcp:", "EstabResets"),
        ONE,
        "Established connections that were reset.",
    ),
    counter(
        "coracle_tcp_retransmitted_segments",
        "",
        SNMP,
        Rule::Protocol("Tcp:", "RetransSegs"),
        ONE,
        "Segments that were sent again.",
    ),
    counter(
        "coracle_udp_receive_errors",
        "",
        SNMP,
        Rule::Protocol("Udp:", "InErrors"),
        ONE,
        "Datagrams that were damaged, or for whose socket there was no room.",
    ),
    counter("coracle_disk_read_operations", "", DISKS, Rule::Disks(0), ONE, "Reads, by disk."),
    counter("coracle_disk_read_bytes", "bytes", DISKS, Rule::Disks(2), SECTORS, "Bytes read, by disk."),
    counter(
        "coracle_disk_read_seconds",
        "seconds",
        DISKS,
        Rule::Disks(3),
        MILLISECONDS,
        "Time that reads took together, by disk.",
    ),
    counter("coracle_disk_write_operations", "", DISKS, Rule::Disks(4), ONE, "Writes, by disk."),
    counter("coracle_disk_write_bytes", "bytes", DISKS, Rule::Disks(6), SECTORS, "Bytes written, by disk."),
    counter(
        "coracle_disk_write_seconds",
        "seconds",
        DISKS,
        Rule::Disks(7),
        MILLISECONDS,
        "Time that writes took together, by disk.",
    ),
    counter(
        "coracle_disk_flush_operations",
        "",
        DISKS,
        Rule::Disks(15),
        ONE,
        "Flushes of the disk's cache, by disk.",
    ),
    gauge(
        "coracle_volume_size_bytes",
        "bytes",
        VOLUMES,
        Rule::Volumes(1),
        ONE,
        "Size of the file systems on disks, by path.",
    ),
    gauge(
        "coracle_volume_available_bytes",
        "bytes",
        VOLUMES,
        Rule::Volumes(2),
        ONE,
        "Room that programs have on the file systems on disks, by path.",
    ),
    gauge(
        "coracle_volume_files",
        "",
        VOLUMES,
        Rule::Volumes(3),
        ONE,
        "Files that the file systems on disks can have, by path.",
    ),
    gauge(
        "coracle_volume_available_files",
        "",
        VOLUMES,
        Rule::Volumes(4),
        ONE,
        "Files that can still be made on the file systems on disks, by path.",
    ),
];

/// What the command knows of its guests beside.
pub const HOST: &[Family] = &[
    gauge(
        "coracle_guest_up",
        "",
        &[],
        Rule::Command,
        ONE,
        "Whether the guest runs and answers (1), or not (0).",
    ),
    counter(
        "coracle_guest_restarts",
        "",
        &[],
        Rule::Command,
        ONE,
        "Times that the guest was started again by its `--restart`.",
    ),
    counter(
        "coracle_log_lost_lines",
        "",
        &[],
        Rule::Command,
        ONE,
        "Lines of the guest's log that were lost, because a file or a server did not take them.",
    ),
    counter(
        "coracle_thread_cpu_seconds",
        "seconds",
        &[],
        Rule::Command,
        TICKS,
        "CPU time by thread (with `--threads`).",
    ),
];
