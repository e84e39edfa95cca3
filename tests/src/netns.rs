//! Network namespaces, so that tests neither meet each other nor the machine's network: one with a tap device for a guest, and one for a
//! program that runs on Linux.
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::paths;

/// The guest's side of the tap device.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// This side of it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The tap device's name, in each namespace.
pub const TAP: &str = "coracle0";

/// The devices of a bad link: this end, and the one that a bridge joins to the guest's tap.
const NEAR: &str = "near0";
const FAR: &str = "far0";
const BRIDGE: &str = "bridge0";

/// A namespace; it goes when dropped.
pub struct Namespace {
    name: String,
    helpers: Vec<Child>,
}

/// Whether namespaces can be made here: by root, where the kernel has tap devices.
pub fn possible() -> bool {
    rustix::process::getuid().is_root() && std::path::Path::new("/dev/net/tun").exists()
}

impl Namespace {
    /// Makes a namespace and its tap device, and a link to it that loses, repeats, reorders and damages frames if asked.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new(bad_link: bool) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("coracle-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let mut namespace = Self { name, helpers: Vec::new() };
        namespace.run("ip", &["link", "set", "lo", "up"])?;
        namespace.run("ip", &["tuntap", "add", TAP, "mode", "tap"])?;
        namespace.run("ip", &["link", "set", TAP, "up"])?;
        let here = if bad_link { namespace.make_bad_link()? } else { TAP };
        namespace.run("ip", &["address", "add", &format!("{HOST}/24"), "dev", here])?;
        Ok(namespace)
    }

    /// Puts the bad link between a device of this side, which it names, and the guest's.
    ///
    /// The bridge finishes checksums and large segments before frames reach the link, as it is a plain tap device.
    fn make_bad_link(&mut self) -> Result<&'static str, String> {
        self.help("bad_link.py", &[NEAR, FAR])?;
        self.run("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
        for device in [TAP, FAR] {
            self.run("ip", &["link", "set", device, "master", BRIDGE])?;
        }
        for device in [NEAR, FAR, BRIDGE] {
            self.run("ip", &["link", "set", device, "up"])?;
        }
        Ok(NEAR)
    }

    /// Starts a server inside that gives the guest its address by DHCP.
    ///
    /// # Errors
    /// If it does not start.
    pub fn serve_dhcp(&mut self) -> Result<(), String> {
        self.help("dhcp.py", &[TAP, &HOST.to_string(), &GUEST.to_string()])
    }

    /// Starts one of the scripts inside and waits until it says that it is ready; it lives as long as the namespace.
    fn help(&mut self, script: &str, arguments: &[&str]) -> Result<(), String> {
        let path = paths::programs().join("servers").join(script);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "python3"]).arg(path).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| format!("{script}: {e}"))?;
        let mut ready = [0; b"ready\n".len()];
        let read = child.stdout.take().expect("stdout is a pipe").read_exact(&mut ready);
        self.helpers.push(child);
        read.map_err(|e| format!("{script} does not start: {e}"))
    }

    /// Runs a program inside, to its end.
    ///
    /// # Errors
    /// What it said, if it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        run("ip", &[&["netns", "exec", &self.name, program][..], arguments].concat())
    }

    /// Does something on a thread that lives inside; sockets, threads and programs made there are inside too.
    ///
    /// # Errors
    /// If the namespace can't be entered, or what the closure gives.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into(&format!("/run/netns/{}", self.name))?;
                inside()
            });
            entered.join().unwrap_or_else(|_| Err("the test panicked".into()))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for helper in &mut self.helpers {
            let _ = helper.kill();
            let _ = helper.wait();
        }
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}

/// Starts a program in a network namespace that holds an interface, the loopback, and ends with the last process in it. The ports that others on
/// this machine use, which differ from one moment to the next, are then all free, as in a guest. A user other than root may not make one:
/// there the program has the machine's network.
///
/// # Errors
/// If the namespace can't be made, or the program not started.
pub fn spawn_alone(command: &mut Command) -> Result<Child, String> {
    if !rustix::process::getuid().is_root() {
        return start(command);
    }
    let mut make = Command::new("unshare");
    make.args(["--net", "sh", "-c", "ip link set lo up && echo ready && read -r _"]);
    let mut keeper = start(make.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let mut ready = [0; b"ready\n".len()];
    let read = keeper.stdout.take().expect("stdout is a pipe").read_exact(&mut ready);
    let started = read
        .map_err(|_| "no network namespace can be made: unshare or ip has said why".into())
        .and_then(|()| start_inside(&format!("/proc/{}/ns/net", keeper.id()), command));
    // At the end of its input it ends.
    drop(keeper.stdin.take());
    let _ = keeper.wait();
    started
}

fn start(command: &mut Command) -> Result<Child, String> {
    command.spawn().map_err(|e| format!("{} does not start: {e}", command.get_program().display()))
}

/// Starts a program in the network namespace of a file. By this thread, which is then its parent (PR_SET_PDEATHSIG of prctl(2)), and which
/// goes back.
fn start_inside(file: &str, command: &mut Command) -> Result<Child, String> {
    let home = File::open("/proc/thread-self/ns/net").map_err(|e| e.to_string())?;
    move_into(file)?;
    let started = start(command);
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("a thread can go back to its network namespace");
    started
}

/// Moves this thread to the network namespace of a file.
fn move_into(file: &str) -> Result<(), String> {
    let file = File::open(file).map_err(|e| e.to_string())?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|e| e.to_string())
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|e| format!("{program} does not start: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
