//! A network namespace of the test's own with a tap device for the guest in it, so that tests neither meet each other
//! nor the machine's network.
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// The guest's side of the tap device.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// This side of it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The tap device's name, in each namespace.
pub const TAP: &str = "coracle0";

/// A namespace; it goes when dropped.
pub struct Namespace {
    name: String,
}

/// Whether namespaces can be made here: by root, where the kernel has tap devices.
pub fn possible() -> bool {
    rustix::process::getuid().is_root() && std::path::Path::new("/dev/net/tun").exists()
}

impl Namespace {
    /// Makes a namespace and its tap device.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("coracle-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.run("ip", &["tuntap", "add", TAP, "mode", "tap"])?;
        namespace.run("ip", &["address", "add", &format!("{HOST}/24"), "dev", TAP])?;
        namespace.run("ip", &["link", "set", TAP, "up"])?;
        namespace.run("ip", &["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Makes the link to the guest lose, delay and reorder packets, as `tc netem` words it.
    ///
    /// # Errors
    /// What `tc` said.
    pub fn disturb(&self, how: &[&str]) -> Result<(), String> {
        let arguments = ["qdisc", "add", "dev", TAP, "root", "netem"];
        self.run("tc", &[&arguments[..], how].concat())
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
                let file = File::open(format!("/run/netns/{}", self.name)).map_err(|e| e.to_string())?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|e| e.to_string())?;
                inside()
            });
            entered.join().unwrap_or_else(|_| Err("the test panicked".into()))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
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
