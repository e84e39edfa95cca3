//! What is measured: every case with its program, machine and loads, by name.

use anyhow::Result;

use crate::load::Load;
use crate::program::{Program, Stock};
use crate::vm::Ready;

/// Memory of the machine wherever its size is not what is measured, in MiB.
pub const MEMORY_MIB: u32 = 512;
/// memcached's own limit for items, in MiB, wherever memory is not what is measured.
const MEMCACHED_MIB: u32 = 128;
/// The same where the smallest machine is looked for.
const MEMCACHED_SMALL_MIB: u32 = 8;
/// Port of the UDP echo server.
const ECHO_PORT: u16 = 7;

/// The tests of programs/micro.c.
const MICRO: &[&str] =
    &["null-syscall", "context-switch", "page-fault", "thread", "timer-of-1", "timer-of-1000"];

/// The tests of programs/disk.c.
const DISK: &[&str] =
    &["disk-read-4k", "disk-read-1m", "disk-write-1m", "disk-append-sync", "cached-read-4k", "cached-fault"];
/// Kinds of calls that programs/calls.c makes, and how many it makes, of which so many more are counted: as many as the guest notes within
/// a moment without losing any.
const CALLS: [&str; 3] = ["null", "pipe", "open"];
const CALLS_MADE: u64 = 64_000;

/// What the short form for CI measures.
pub const QUICK: &[&str] = &[
    "hello",
    "micro",
    "memcached-64",
    "memcached-1",
    "redis-get-50",
    "redis-set-50",
    "nginx-612",
    "nginx-100k",
];

/// How a case is measured.
#[derive(Clone, Debug)]
pub enum Method {
    /// Boot, wait until it serves, idle, then one load after the other.
    Serve(Vec<(String, Load)>),
    /// Boot a program that marks its own tests, which have these names, and ends.
    Marks(&'static [&'static str]),
    /// Run the program and the same without work; the difference, divided by the operations, is the figure.
    Difference { without: Box<Program>, operations: u64 },
    /// Start, `main`, end.
    Start,
    /// Look for the smallest memory with which the program still does its work.
    SmallestMemory(Option<Load>),
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: Program,
    /// CPUs of the machine.
    pub cpus: u32,
    /// How it is measured.
    pub method: Method,
    /// Whether all system calls are traced meanwhile, as by `coracle run --trace`.
    pub is_traced: bool,
}

impl Case {
    /// Whether this is its name, or that of one of its loads.
    pub fn has(&self, name: &str) -> bool {
        self.name == name
            || match &self.method {
                Method::Serve(loads) => loads.iter().any(|(load, _)| load == name),
                Method::Marks(tests) => tests.contains(&name),
                _ => false,
            }
    }
}

fn named(loads: &[(&str, Load)]) -> Vec<(String, Load)> {
    loads.iter().map(|(name, load)| ((*name).to_owned(), load.clone())).collect()
}

/// Every case.
pub fn all(stock: &Stock) -> Result<Vec<Case>> {
    let case = |name: &str, program: Program, cpus: u32, method: Method| Case {
        name: name.to_owned(),
        program,
        cpus,
        method,
        is_traced: false,
    };
    let closed = |busy, idle| Load::Memcached { busy, idle };
    let redis = |test, connections, pipeline| Load::Redis { test, connections, pipeline };
    let http = |port, path, connections, keep_alive| Load::Http { port, path, connections, keep_alive };
    let mut all = vec![
        case("hello", stock.own("hello", &[], Ready::Exit)?, 1, Method::Start),
        case("micro", stock.own("micro", &[], Ready::Exit)?, 1, Method::Marks(MICRO)),
        case("disk", stock.own_on_disk("disk")?, 1, Method::Marks(DISK)),
        case(
            "memcached",
            stock.memcached(MEMCACHED_MIB, 1)?,
            1,
            Method::Serve(named(&[
                ("memcached-64", closed(64, 0)),
                ("memcached-16", closed(16, 0)),
                ("memcached-1", closed(1, 0)),
                ("memcaslap-64", Load::Memcaslap { connections: 64 }),
                ("memcaslap-16", Load::Memcaslap { connections: 16 }),
                ("memcaslap-1", Load::Memcaslap { connections: 1 }),
            ])),
        ),
        case(
            "memcached-idle",
            stock.memcached(MEMCACHED_MIB, 1)?,
            1,
            Method::Serve(named(&[
                ("memcached-16-idle-10", closed(16, 10)),
                ("memcached-16-idle-1000", closed(16, 1000)),
                ("memcached-16-idle-10000", closed(16, 10_000)),
            ])),
        ),
        case(
            "memcached-smp",
            stock.memcached(MEMCACHED_MIB, 2)?,
            2,
            Method::Serve(named(&[("memcached-64-cpus-2", closed(64, 0))])),
        ),
        case(
            "redis",
            stock.redis()?,
            1,
            Method::Serve(named(&[
                ("redis-get-50", redis("get", 50, 1)),
                ("redis-set-50", redis("set", 50, 1)),
                ("redis-get-1", redis("get", 1, 1)),
                ("redis-set-1", redis("set", 1, 1)),
                ("redis-get-50-pipeline-16", redis("get", 50, 16)),
                ("redis-set-50-pipeline-16", redis("set", 50, 16)),
            ])),
        ),
        case(
            "nginx",
            stock.nginx()?,
            1,
            Method::Serve(named(&[
                ("nginx-612", http(80, "/index.html", 30, true)),
                ("nginx-612-close", http(80, "/index.html", 30, false)),
                ("nginx-100k", http(80, "/large.bin", 30, true)),
                ("nginx-100k-close", http(80, "/large.bin", 30, false)),
            ])),
        ),
        case(
            "python",
            stock.python()?,
            1,
            Method::Serve(named(&[("python-http", http(8000, "/index.html", 4, true))])),
        ),
        case(
            "sqlite",
            stock.sqlite(true)?,
            1,
            Method::Difference {
                without: Box::new(stock.sqlite(false)?),
                operations: crate::program::SQLITE_ROWS,
            },
        ),
        case(
            "sqlite-wal",
            stock.sqlite_wal(true)?,
            1,
            Method::Difference {
                without: Box::new(stock.sqlite_wal(false)?),
                operations: crate::program::SQLITE_TRANSACTIONS,
            },
        ),
        case(
            "fio-read-4k-32",
            stock.fio(crate::program::FIO_READS)?,
            1,
            Method::Difference {
                without: Box::new(stock.fio(1)?),
                operations: crate::program::FIO_READS - 1,
            },
        ),
        case(
            "redis-aof",
            stock.redis_aof()?,
            1,
            Method::Serve(named(&[("redis-aof-set-50", redis("set", 50, 1))])),
        ),
        case(
            "stream",
            stock.iperf3()?,
            1,
            Method::Serve(named(&[
                ("tcp-to-guest", Load::Stream { to_guest: true }),
                ("tcp-from-guest", Load::Stream { to_guest: false }),
            ])),
        ),
        case(
            "udp",
            stock.own("udpecho", &[&ECHO_PORT.to_string()], Ready::Udp(ECHO_PORT))?,
            1,
            Method::Serve(named(&[("udp-echo", Load::UdpEcho { port: ECHO_PORT, beside_work: false })])),
        ),
        case(
            "udp-beside-work",
            stock.own("udpecho", &[&ECHO_PORT.to_string(), "work"], Ready::Udp(ECHO_PORT))?,
            1,
            Method::Serve(named(&[(
                "udp-echo-beside-work",
                Load::UdpEcho { port: ECHO_PORT, beside_work: true },
            )])),
        ),
        case("memory-hello", stock.own("hello", &[], Ready::Exit)?, 1, Method::SmallestMemory(None)),
        case(
            "memory-memcached",
            stock.memcached(MEMCACHED_SMALL_MIB, 1)?,
            1,
            Method::SmallestMemory(Some(closed(16, 0))),
        ),
    ];
    if let Some(postgres) = stock.postgres()? {
        let tpcb = Method::Serve(named(&[("postgres-tpcb-8", Load::Pgbench { clients: 8 })]));
        all.push(case("postgres", postgres, 1, tpcb));
    }
    for kind in CALLS {
        let calls = |count: u64| stock.own("calls", &[kind, &count.to_string()], Ready::Exit);
        let without = Box::new(calls(CALLS_MADE)?);
        let method = Method::Difference { without, operations: CALLS_MADE };
        all.push(case(&format!("call-{kind}"), calls(2 * CALLS_MADE)?, 1, method));
    }
    let served = Method::Serve(named(&[("memcached-64-traced", closed(64, 0))]));
    all.push(Case {
        is_traced: true,
        ..case("memcached-traced", stock.memcached(MEMCACHED_MIB, 1)?, 1, served)
    });
    let traced =
        |case: &Case| Case { name: format!("{}-traced", case.name), is_traced: true, ..case.clone() };
    let calls: Vec<Case> = all.iter().filter(|case| case.name.starts_with("call-")).map(traced).collect();
    all.extend(calls);
    Ok(all)
}
