//! Keeps the guest away from the services on the host's own loopback addresses.
//!
//! On QEMU's user network the guest reaches 127.0.0.1 of the host at 10.0.2.2, and QEMU 7.2 has no option against it but one
//! that cuts the guest off from everything. So the kernel of the host asks this command about each connection that QEMU opens
//! (seccomp_unotify(2)): a filter stops connect(2) and sendto(2) with an address, and a thread looks at the address and lets
//! the call go on, or fail with `ECONNREFUSED`.
//!
//! The filter separates the guest from loopback as long as QEMU does what it is written to do: a guest that has taken over QEMU
//! could change the address after it was looked at. Two kinds of traffic stay: name servers of the host that are on loopback
//! (the guest's queries to 10.0.2.3 go there), and datagrams from a published UDP port, which has to answer clients on loopback.

use std::fs::{self, File};
use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use libc::{
    AF_INET, AF_INET6, BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF, SYS_connect, SYS_sendto, c_long, seccomp_data, seccomp_notif,
    seccomp_notif_resp, sock_filter, sock_fprog,
};

use crate::error::{Error, Result};
use crate::net::{Forward, Protocol};

/// `AUDIT_ARCH_X86_64` of linux/audit.h: the machine whose system calls the filter knows.
const AUDIT_ARCH: u32 = 0xc000_003e;
/// System calls of the x32 ABI have this bit set; QEMU makes none.
const X32_BIT: u32 = 0x4000_0000;
/// The port of name servers.
const DNS_PORT: u16 = 53;
/// Where the host's name servers are named (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Bytes of the longest address that is looked at (`struct sockaddr_in6`).
const LONGEST_ADDRESS: usize = 28;
/// What the child reports over the socket before it becomes QEMU.
const FAILED: u8 = b'F';
const DONE: u8 = b'D';

/// The filter that a program is started under, and this command's end of the socket over which it hands out the listener.
pub struct Filter(UnixStream);

impl Filter {
    /// Has the command start its program under the filter.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn install(command: &mut Command) -> Result<Self> {
        let (ours, child) =
            UnixStream::pair().map_err(|error| Error::new("cannot open a socket").why(error))?;
        // SAFETY: between fork and exec only async-signal-safe functions may be called; these are prctl(2), seccomp(2) and
        // sendmsg(2), without an allocation.
        unsafe {
            command.pre_exec(move || match confine() {
                Ok(listener) => send(&child, DONE, Some(&listener)),
                Err(error) => {
                    // The error itself is what matters.
                    let _ = send(&child, FAILED, None);
                    Err(error)
                }
            });
        }
        Ok(Filter(ours))
    }

    /// Whether a start failed because of the filter.
    pub fn has_failed(&self) -> bool {
        matches!(receive(&self.0), Ok((FAILED, _)))
    }

    /// Answers for the started program, on a thread, until it ends.
    ///
    /// # Errors
    /// If the program has not handed out the listener.
    pub fn watch(self, forwards: &[Forward]) -> Result<()> {
        let lost = || Error::new("QEMU cannot be kept away from this host's loopback addresses");
        let (_, listener) = receive(&self.0).map_err(|error| lost().why(error))?;
        let listener = listener.ok_or_else(lost)?;
        let published = forwards
            .iter()
            .filter(|forward| forward.protocol == Protocol::Udp)
            .map(|forward| forward.host)
            .collect();
        let watch = Watch { listener, published };
        thread::spawn(move || while watch.answer_next().is_ok() {});
        Ok(())
    }
}

/// That this host's kernel cannot do it.
pub fn unavailable(why: &io::Error) -> Error {
    Error::new("the guest cannot be kept away from services on this host's 127.0.0.1")
        .why(format!("seccomp(2): {why} (Linux 5.5 or newer is needed)"))
        .help("--host-loopback lets it reach them; `--net none` and `--net tap:NAME` do without")
}

/// Puts this process under the filter; returns the listener for its notifications.
fn confine() -> io::Result<OwnedFd> {
    let load = |offset: usize| statement(BPF_LD | BPF_W | BPF_ABS, offset as u32);
    let argument = |index: usize, half: usize| load(offset_of!(seccomp_data, args) + index * 8 + half * 4);
    let result = |value: u32| statement(BPF_RET | BPF_K, value);
    let no_such_call = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut filter = [
        load(offset_of!(seccomp_data, arch)),
        equal(AUDIT_ARCH, 0, 9),
        load(offset_of!(seccomp_data, nr)),
        sock_filter { code: (BPF_JMP | libc::BPF_JSET | BPF_K) as u16, jt: 7, jf: 0, k: X32_BIT },
        equal(call_number(SYS_connect), 7, 0),
        equal(call_number(SYS_sendto), 0, 4),
        // sendto(2) without an address, as send(3) does it, goes where its socket is connected to.
        argument(4, 0),
        equal(0, 0, 4),
        argument(4, 1),
        equal(0, 0, 2),
        result(SECCOMP_RET_ALLOW),
        result(no_such_call),
        result(SECCOMP_RET_USER_NOTIF),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: seccomp(2) reads the program, which lives until it returns, and returns a new descriptor or -1.
    let listener = unsafe {
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        match libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) {
            fd if fd >= 0 => std::os::fd::FromRawFd::from_raw_fd(fd as i32),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    Ok(listener)
}

const fn call_number(number: c_long) -> u32 {
    number as u32
}

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips so many instructions if the loaded word is equal, or if not.
const fn equal(k: u32, if_equal: u8, if_not: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: if_equal, jf: if_not, k }
}

/// Sends a byte, and a descriptor with it.
fn send(to: &UnixStream, byte: u8, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd as _;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor.as_fd()]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(to, &[io::IoSlice::new(&[byte])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send`] sent.
fn receive(from: &UnixStream) -> io::Result<(u8, Option<OwnedFd>)> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(from, &mut [io::IoSliceMut::new(&mut byte)], &mut control, flags)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((byte[0], descriptor))
}

/// Answers notifications.
struct Watch {
    listener: OwnedFd,
    /// Ports of published UDP ports on this host.
    published: Vec<u16>,
}

impl Watch {
    /// Waits for a call, and lets it go on or fail. An error means that no process is left that calls.
    fn answer_next(&self) -> io::Result<()> {
        // SAFETY: all zeroes are a value of this plain structure, and what the kernel asks for.
        let mut call: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one notification into a structure of that size.
        let received = unsafe {
            libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut call)
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            // A caller that was killed while it waited (ENOENT) takes its question with it.
            let goes_on =
                matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) && self.has_callers();
            return if goes_on { Ok(()) } else { Err(error) };
        }
        let mut answer = seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: 0 };
        match self.is_allowed(&call) {
            true => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            false => answer.error = -libc::ECONNREFUSED,
        }
        // SAFETY: the kernel reads one answer. That the caller is gone by now is no matter.
        unsafe {
            libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const answer)
        };
        Ok(())
    }

    /// Whether a process is left under the filter: else the listener has hung up.
    fn has_callers(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut listener, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
            && !listener[0].revents().contains(PollFlags::HUP)
    }

    fn is_allowed(&self, call: &seccomp_notif) -> bool {
        let arguments = &call.data.args;
        let is_datagram = c_long::from(call.data.nr) == SYS_sendto;
        let (address, length) =
            if is_datagram { (arguments[4], arguments[5]) } else { (arguments[1], arguments[2]) };
        let Ok(address) = self.read(call, address, length as usize) else { return false };
        match destination(&address) {
            Some(to) if is_loopback(to.ip()) => {
                (to.port() == DNS_PORT
                    && is_name_server(to.ip(), &fs::read_to_string(RESOLV_CONF).unwrap_or_default()))
                    || (is_datagram && self.is_published(call.pid, arguments[0]))
            }
            _ => true,
        }
    }

    /// The bytes of the address, in the memory of the caller, which waits.
    fn read(&self, call: &seccomp_notif, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length.min(LONGEST_ADDRESS)];
        File::open(format!("/proc/{}/mem", call.pid))?.read_exact_at(&mut bytes, address)?;
        // SAFETY: the kernel reads the number of the call. It fails if the caller is gone, whose number may be another's then.
        let valid = unsafe {
            libc::ioctl(
                self.listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _,
                &raw const call.id,
            )
        };
        if valid < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
    }

    /// Whether a descriptor of the caller is the socket of a published UDP port.
    fn is_published(&self, process: u32, descriptor: u64) -> bool {
        if self.published.is_empty() {
            return false;
        }
        let link = fs::read_link(format!("/proc/{process}/fd/{descriptor}")).unwrap_or_default();
        let link = link.to_string_lossy().into_owned();
        let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
            return false;
        };
        let table = fs::read_to_string(format!("/proc/{process}/net/udp")).unwrap_or_default();
        local_port(&table, inode).is_some_and(|port| self.published.contains(&port))
    }
}

/// The local port of a socket in the table `/proc/net/udp` (proc(5)).
fn local_port(table: &str, inode: &str) -> Option<u16> {
    /// Columns of the local address and of the inode.
    const LOCAL: usize = 1;
    const INODE: usize = 9;
    let line = table.lines().find(|line| line.split_whitespace().nth(INODE) == Some(inode))?;
    let (_, port) = line.split_whitespace().nth(LOCAL)?.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

/// The address in a `struct sockaddr` of the Internet families (ip(7), ipv6(7)).
fn destination(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match family {
        AF_INET => Some((Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?), port).into()),
        AF_INET6 => Some((Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?), port).into()),
        _ => None,
    }
}

/// Whether an address leads to this host's loopback device. Linux takes the unspecified address for it, too.
fn is_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Whether a `resolv.conf` names the address.
fn is_name_server(address: IpAddr, resolv_conf: &str) -> bool {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .any(|rest| rest.trim().parse() == Ok(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let v4 = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(destination(&v4), Some(([127, 0, 0, 1], 8080).into()));
        let mut v6 = [0; LONGEST_ADDRESS];
        (v6[0], v6[3], v6[23]) = (10, 80, 1);
        assert_eq!(destination(&v6), Some((Ipv6Addr::LOCALHOST, 80).into()));
        for other in [&[][..], &[2], &v4[..7], &v6[..23], &[1, 0, b'/', 0], &[0; 16]] {
            assert_eq!(destination(other), None, "{other:?}");
        }
        for (text, loopback) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("0.0.0.0", true),
            ("::1", true),
            ("::", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.2.2", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_loopback(text.parse().unwrap()), loopback, "{text}");
        }
    }

    #[test]
    fn tables_of_the_host() {
        let text = "# nameserver 127.0.0.9\nsearch x\nnameserver 127.0.0.53\n nameserver\t10.0.0.1\n";
        let is = |address: &str| is_name_server(address.parse().unwrap(), text);
        assert!(is("127.0.0.53") && is("10.0.0.1") && !is("127.0.0.9") && !is("127.0.0.1"));
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref\n\
             1: 0100007F:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n";
        assert_eq!((local_port(table, "4711"), local_port(table, "1")), (Some(0x14e9), None));
    }
}
