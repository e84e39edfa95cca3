//! The test network: a tap device in a network namespace of the bench's own.
//!
//! The bench starts itself again under `unshare --net`; the namespace and all that is in it vanish with the process, and
//! nothing on the machine's own network is touched.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Name of the tap device inside the namespace.
pub const TAP: &str = "coracle0";
/// The host's address on the tap.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The guest's address.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Length of the network's prefix.
pub const PREFIX: u8 = 16;
/// The guest's hardware address, known beforehand so that no measurement waits for ARP.
pub const MAC: &str = "52:54:00:12:34:56";

/// Set in the environment of the bench that runs inside the namespace.
const INSIDE: &str = "CORACLE_BENCH_INSIDE";

/// The address of a port of the guest.
pub fn guest_port(port: u16) -> SocketAddr {
    SocketAddr::new(GUEST.into(), port)
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip").args(words.split(' ')).output().context(
        "cannot run `ip`: install the package iproute2 (the bench makes its test network with it)",
    )?;
    if !output.status.success() {
        bail!("`ip {words}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Starts this program again in a network namespace of its own; returns only in there, with the network up.
pub fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        // The shell raises the limit of open files: 10,000 connections are one of the loads.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh", "unshare", "--net"]);
        if !is_root() {
            command.arg("--map-root-user");
        }
        let failure =
            command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1").exec();
        bail!("cannot run `unshare` (package util-linux), which makes the test network: {failure}");
    }
    ip("link set lo up")?;
    ip(&format!("tuntap add dev {TAP} mode tap")).context(
        "cannot make a tap device: the bench needs /dev/net/tun and the right to use it (run it as root)",
    )?;
    ip(&format!("addr add {HOST}/{PREFIX} dev {TAP}"))?;
    ip(&format!("link set {TAP} up"))?;
    set_guest_mac(MAC)
}

/// Tells the host the guest's hardware address.
pub fn set_guest_mac(mac: &str) -> Result<()> {
    ip(&format!("neigh replace {GUEST} lladdr {mac} dev {TAP} nud permanent"))
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}
