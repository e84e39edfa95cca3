//! A virtual machine under measurement: QEMU with the counting plugin, its monitor and its console.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::counter::{Count, Counters};
use crate::guest::Launch;
use crate::network;

/// How long a port is asked before asking anew.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(30);
/// Pause between two questions whether the guest is there.
const POLL_PAUSE: Duration = Duration::from_millis(4);
/// How long QEMU may take to answer on its monitor or to load the plugin.
const QEMU_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of the console an error message quotes.
const QUOTED_CONSOLE: usize = 1500;

/// What the plugin is asked to do beside counting.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Guest addresses whose executions are logged.
    pub marks: Vec<u64>,
    /// Whether each translation block is counted.
    pub profile: bool,
}

/// How a guest shows that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It accepts TCP connections on this port.
    Tcp(u16),
    /// It answers datagrams on this port.
    Udp(u16),
    /// It runs to its end.
    Exit,
}

/// What starting took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Startup {
    /// Guest instructions from the machine's first.
    pub insns: u64,
    /// Seconds from the start of QEMU.
    pub seconds: f64,
}

/// A running machine. It ends when dropped.
pub struct Vm {
    child: Child,
    counters: Counters,
    directory: PathBuf,
    started: Instant,
    memory_mib: u32,
}

impl Vm {
    /// Starts a guest (`launch` is complete but for what measuring adds).
    /// `directory` must exist; it receives the console and the counters.
    pub fn start(
        launch: &Launch,
        plugin: &Path,
        watch: &Watch,
        directory: &Path,
        memory_mib: u32,
    ) -> Result<Self> {
        let counter_file = directory.join("counters");
        let _ = fs::remove_file(&counter_file);
        let _ = fs::remove_file(directory.join("trace"));
        let mut plugin_arg = format!("{},counters={}", plugin.display(), counter_file.display());
        for mark in &watch.marks {
            plugin_arg += &format!(",mark={mark:#x}");
        }
        if watch.profile {
            plugin_arg += ",profile=on";
        }
        network::set_guest_mac(launch.mac.as_deref().unwrap_or(network::MAC))?;
        // setpriv: the machine dies with the bench, however that ends.
        let started = Instant::now();
        let monitor = format!("unix:{},server=on,wait=off", directory.join("monitor").display());
        let trace = directory.join("trace").display().to_string();
        let added = ["-plugin", &plugin_arg, "-D", &trace, "-monitor", &monitor];
        let added =
            added.map(|word| if launch.is_run { format!("--qemu-arg={word}") } else { word.to_owned() });
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(&launch.words)
            .args(added)
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("stdout"))?)
            .stderr(File::create(directory.join("stderr"))?)
            .spawn()
            .context("cannot run `setpriv` (package util-linux)")?;
        let mut child = ChildGuard(Some(child));
        let counters = loop {
            if let Ok(counters) = Counters::open(&counter_file) {
                break counters;
            }
            let ended = child.0.as_mut().expect("still held").try_wait()?;
            if ended.is_some() || started.elapsed() > QEMU_TIMEOUT {
                bail!(
                    "QEMU did not start: {}\n  command: {}",
                    fs::read_to_string(directory.join("stderr")).unwrap_or_default().trim(),
                    launch.words.join(" ")
                );
            }
            sleep(Duration::from_millis(1));
        };
        let child = child.0.take().expect("still held");
        Ok(Self { child, counters, directory: directory.to_owned(), started, memory_mib })
    }

    /// The counter file.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Instructions so far.
    pub fn count(&self) -> Result<Count> {
        self.counters.read()
    }

    /// Waits until the guest serves (or, for [`Ready::Exit`], has ended).
    pub fn wait(&mut self, ready: Ready, limit: Duration) -> Result<Startup> {
        loop {
            let ended = self.child.try_wait()?;
            let there = match ready {
                Ready::Tcp(port) => answers_tcp(network::guest_port(port)),
                Ready::Udp(port) => answers_udp(network::guest_port(port)),
                Ready::Exit => ended.is_some(),
            };
            if there {
                return Ok(Startup {
                    insns: self.count()?.insns,
                    seconds: self.started.elapsed().as_secs_f64(),
                });
            }
            if let Some(status) = ended {
                bail!("the guest ended before it served ({status})\n{}", self.console_tail());
            }
            if self.started.elapsed() > limit {
                bail!("the guest does not serve after {} s\n{}", limit.as_secs(), self.console_tail());
            }
            sleep(POLL_PAUSE);
        }
    }

    /// Whether the machine still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Instructions per second while nothing is asked of the guest.
    pub fn idle_rate(&self, period: Duration) -> Result<f64> {
        let before = self.count()?.insns;
        let start = Instant::now();
        sleep(period);
        Ok((self.count()?.insns - before) as f64 / start.elapsed().as_secs_f64())
    }

    /// What the guest and QEMU have written so far.
    pub fn console(&self) -> String {
        ["console", "stdout", "stderr"]
            .iter()
            .filter_map(|name| fs::read(self.directory.join(name)).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    /// The end of the console, for error messages.
    pub fn console_tail(&self) -> String {
        let console = self.console();
        let skip = console.chars().count().saturating_sub(QUOTED_CONSOLE);
        format!("  its console ends:\n{}", console.chars().skip(skip).collect::<String>())
    }

    /// Runs one command of QEMU's human monitor.
    fn monitor(&self, command: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.directory.join("monitor"))?;
        socket.set_read_timeout(Some(QEMU_TIMEOUT))?;
        let mut answer = String::new();
        let mut prompts = 0;
        let mut buffer = [0; 4096];
        while prompts < 2 {
            let len = socket.read(&mut buffer).context("QEMU's monitor does not answer")?;
            if len == 0 {
                bail!("QEMU closed its monitor");
            }
            answer += &String::from_utf8_lossy(&buffer[..len]);
            let seen = answer.matches("(qemu) ").count();
            if prompts == 0 && seen > 0 {
                socket.write_all(format!("{command}\n").as_bytes())?;
            }
            prompts = seen;
        }
        Ok(answer)
    }

    /// Starts recording virtio doorbells and interrupts.
    pub fn trace_start(&self) -> Result<()> {
        for event in ["virtio_queue_notify", "virtio_notify", "virtio_notify_irqfd"] {
            self.monitor(&format!("trace-event {event} on"))?;
        }
        File::options().write(true).open(self.directory.join("trace"))?.set_len(0)?;
        Ok(())
    }

    /// Stops recording; returns how many doorbells the guest rang and how many interrupts it was sent.
    pub fn trace_stop(&self) -> Result<(u64, u64)> {
        for event in ["virtio_queue_notify", "virtio_notify", "virtio_notify_irqfd"] {
            self.monitor(&format!("trace-event {event} off"))?;
        }
        self.traced()
    }

    /// The doorbells and interrupts that were recorded.
    pub fn traced(&self) -> Result<(u64, u64)> {
        let trace = fs::read(self.directory.join("trace"))?;
        let trace = String::from_utf8_lossy(&trace);
        let doorbells = trace.matches("virtio_queue_notify ").count() as u64;
        let interrupts =
            (trace.matches("virtio_notify ").count() + trace.matches("virtio_notify_irqfd ").count()) as u64;
        Ok((doorbells, interrupts))
    }

    /// Host memory in KiB: of the whole QEMU process, and of the part that is the guest's RAM.
    pub fn host_memory(&self) -> Result<(u64, u64)> {
        let pid = self.child.id();
        let kib = |text: &str, key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let resident = kib(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:");
        // The guest's RAM is the mapping of exactly its size.
        let size = format!("Size: {:>18} kB", u64::from(self.memory_mib) * 1024);
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
        let size_words: Vec<_> = size.split_whitespace().collect();
        let lines: Vec<_> = smaps.lines().collect();
        let ram = lines
            .iter()
            .position(|line| line.split_whitespace().eq(size_words.iter().copied()))
            .map_or(0, |at| kib(&lines[at..(at + 6).min(lines.len())].join("\n"), "Rss:"));
        Ok((resident, ram))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a process that is not yet part of a [`Vm`].
struct ChildGuard(Option<Child>);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn answers_tcp(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()
}

fn answers_udp(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind((network::HOST, 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        socket.send(b"there?")?;
        socket.recv(&mut [0; 16])
    };
    ask().is_ok()
}
