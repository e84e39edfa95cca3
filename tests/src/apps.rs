//! Guests that serve: how they are booted, on which network, and how a test reaches them.
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::guest::{Server, coracle_run};
use crate::matrix::Machine;
use crate::netns::{self, Namespace};
use crate::ports;

/// How long a server may take from the start of QEMU until it answers.
const START: Duration = Duration::from_secs(90);
/// How long a client waits for any single answer.
pub const ANSWER: Duration = Duration::from_secs(30);
/// How long a test may take before its guest is taken to hang.
const TEST: Duration = Duration::from_secs(240);

/// How the guest is joined to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// QEMU's user network, ports led in by `-p`.
    User,
    /// A tap device in a namespace of the test's own.
    Tap,
}

/// A server to boot.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// The program.
    pub program: PathBuf,
    /// The tree that is the guest's root, if it isn't this machine's.
    pub root: Option<PathBuf>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Files for its image.
    pub add: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// The guest's memory.
    pub memory: &'static str,
    /// Whether the files of its image are paged in from a disk.
    pub demand: bool,
    /// The TCP port it listens on.
    pub port: u16,
    /// Whether the port is one of UDP.
    pub udp: bool,
    /// Whether the link to it loses, repeats, reorders and damages frames, on a tap.
    pub bad_link: bool,
    /// Whether it has to ask for its address by DHCP, on a tap.
    pub dhcp: bool,
}

/// A server that runs, and where.
pub struct Running {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its network.
    pub network: Network,
}

impl Running {
    /// Its address and port as words.
    pub fn host_and_port(&self) -> (String, String) {
        (self.address.ip().to_string(), self.address.port().to_string())
    }

    /// A new connection, with a limit on every answer.
    ///
    /// # Errors
    /// If there is none to be had.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Waits until a probe of the server succeeds.
    fn wait(&self, server: &mut Server, probe: fn(&Self) -> io::Result<()>) -> Result<(), String> {
        let start = Instant::now();
        loop {
            match probe(self) {
                Ok(()) => return Ok(()),
                Err(_) if !server.is_running() => return Err("the guest ended before it answered".into()),
                Err(e) if start.elapsed() > START => return Err(format!("no answer within {START:?}: {e}")),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Boots a server, waits until it answers the probe, and runs a test on it; a failure comes with the guest's log.
///
/// # Errors
/// What went wrong.
pub fn serve(
    service: &Service,
    machine: Machine,
    network: Network,
    probe: fn(&Running) -> io::Result<()>,
    test: impl FnOnce(&Running) -> Result<(), String> + Send,
) -> Result<(), String> {
    match network {
        Network::User => {
            let port = ports::free()?;
            let protocol = if service.udp { "/udp" } else { "" };
            let arguments = vec!["-p".into(), format!("127.0.0.1:{port}:{}{protocol}", service.port)];
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            boot(service, machine, &arguments, &Running { address, network }, probe, test)
        }
        Network::Tap => {
            let mut namespace = Namespace::new(service.bad_link)?;
            let mut arguments = vec!["--net".into(), format!("tap:{}", netns::TAP)];
            if service.dhcp {
                namespace.serve_dhcp()?;
            } else {
                let ip = format!("{}/24", netns::GUEST);
                arguments.extend(["--ip".into(), ip, "--gateway".into(), netns::HOST.to_string()]);
            }
            let address = SocketAddr::new(IpAddr::V4(netns::GUEST), service.port);
            namespace.enter(|| boot(service, machine, &arguments, &Running { address, network }, probe, test))
        }
    }
}

fn boot(
    service: &Service,
    machine: Machine,
    network: &[String],
    running: &Running,
    probe: fn(&Running) -> io::Result<()>,
    test: impl FnOnce(&Running) -> Result<(), String> + Send,
) -> Result<(), String> {
    let mut command = coracle_run(machine);
    command.args(network).args(["-m", service.memory]);
    if service.demand {
        command.arg("--demand");
    }
    if let Some(root) = &service.root {
        command.arg("--root").arg(root);
    }
    for variable in &service.env {
        command.args(["-e", variable]);
    }
    for path in &service.add {
        command.args(["--add", path]);
    }
    command.arg(&service.program).arg("--").args(&service.args);
    let mut server = Server::start(&mut command)?;
    let finished = AtomicBool::new(false);
    let result = running.wait(&mut server, probe).and_then(|()| {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let result = test(running);
                finished.store(true, Ordering::Release);
                result
            });
            let start = Instant::now();
            while !worker.is_finished() {
                if start.elapsed() > TEST || !server.is_running() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
            // A test that hangs on a dead guest ends by its own limits on answers.
            worker.join().unwrap_or_else(|_| Err("the test panicked".into()))
        })
    });
    let alive = server.is_running();
    match result {
        Ok(()) if alive => Ok(()),
        Ok(()) => Err(format!("the guest ended while it served\n--- its log:\n{}", server.log())),
        Err(e) => Err(format!(
            "{e}\nthe guest {}\n--- its log:\n{}",
            if alive { "runs on" } else { "has ended" },
            server.log()
        )),
    }
}
