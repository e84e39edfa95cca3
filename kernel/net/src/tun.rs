//! Interfaces whose other end is a program, which opens /dev/net/tun (Linux's Documentation/networking/tuntap.rst): it reads the packets
//! that are routed to the interface, and what it writes is received there.
use super::interface::Interface;
use super::interface_ioctl::{INTERFACES_MAX, NAME_BYTES, Name, change_tunnel, interfaces_of};
use super::space::Home;
use super::stack::sent;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::fs::file::File;
use coracle_core::fs::mount::Place;
use coracle_core::ipc::poll::{Events, PollSource, block_on};
use coracle_core::lock::Mutex;
use coracle_core::mm::user;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::namespaces::{Room, check_capability_for, network_room};
use coracle_devices::buffer::NetBuffer;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::frame::{self, Watermark};
use coracle_hal::sync::MutexGuard;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering::Relaxed};
use coracle_hal::time::now_ns;
use coracle_tcpip::{Traffic, Tunnel, TxFrame};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

/// Major and minor number of the device.
pub const DEVICE: (u32, u32) = (10, 200);
/// Packets that wait to be read (txqueuelen of such an interface).
pub const QUEUE_LENGTH: u32 = 500;
/// Bytes of packets that wait to be read from all open files of an interface: as many as the queue has of the usual length, several times.
const WAITING_MAX: usize = 4 << 20;
/// MTU of a new interface.
const MTU: u16 = 1500;
/// Bytes of the longest packet that is written.
const PACKET_MAX: usize = 65535;
/// The number of an interface's first user and group: none.
const NOBODY: u32 = u32::MAX;
/// Numbers of the interfaces begin behind those of the loopback and the card.
const FIRST_INDEX: u32 = 3;

/// Requests (linux/if_tun.h).
const TUNSETNOCSUM: u32 = 0x4004_54c8;
const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETPERSIST: u32 = 0x4004_54cb;
const TUNSETOWNER: u32 = 0x4004_54cc;
const TUNSETGROUP: u32 = 0x4004_54ce;
const TUNGETFEATURES: u32 = 0x8004_54cf;
const TUNSETOFFLOAD: u32 = 0x4004_54d0;
const TUNGETIFF: u32 = 0x8004_54d2;
/// Flags of interfaces.
const IFF_TUN: u16 = 0x1;
const IFF_TAP: u16 = 0x2;
const IFF_MULTI_QUEUE: u16 = 0x100;
const IFF_PERSIST: u16 = 0x800;
const IFF_NO_PI: u16 = 0x1000;
const IFF_ONE_QUEUE: u16 = 0x2000;
const IFF_VNET_HDR: u16 = 0x4000;
/// No filter is attached, as there are none here; the number is that of IFF_NO_PI.
const IFF_NOFILTER: u16 = 0x1000;
const IFF_TUN_EXCL: u16 = 0x8000;
const FEATURES: u16 = IFF_NO_PI | IFF_ONE_QUEUE | IFF_MULTI_QUEUE;
/// `struct tun_pi`, which is before each packet without IFF_NO_PI: flags, and the type of the packet in the order of the network.
const INFORMATION_BYTES: usize = 4;
/// Flag: the packet is cut.
const TUN_PKT_STRIP: u8 = 1;
/// Types of packets (linux/if_ether.h).
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Packets that wait to be read.
#[derive(Default)]
struct Waiting {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// The packets that one open file has to read.
struct Queue {
    waiting: Mutex<Waiting>,
    source: PollSource,
    /// Something came since the readers were notified.
    is_fresh: AtomicBool,
}

/// An interface.
pub struct Tun {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: Name,
    flags: AtomicU16,
    owner: AtomicU32,
    group: AtomicU32,
    persists: AtomicBool,
    queues: Mutex<Vec<Arc<Queue>>>,
    traffic: Mutex<[Traffic; 2]>,
}

/// The interfaces of a network namespace.
pub struct Tuns {
    /// Held while interfaces come and go, and while files are attached to them.
    changing: Mutex<()>,
    all: Mutex<Vec<Arc<Tun>>>,
    next_index: AtomicU32,
}

impl Default for Tuns {
    fn default() -> Self {
        Tuns {
            changing: Mutex::new(()),
            all: Mutex::new(Vec::new()),
            next_index: AtomicU32::new(FIRST_INDEX),
        }
    }
}

impl Tuns {
    /// Calls `see` for each.
    pub fn for_each(&self, see: &mut dyn FnMut(&Tun)) {
        self.all.lock().iter().for_each(|tun| see(tun));
    }

    /// The interface of this number.
    pub fn of(&self, index: u32) -> Option<Arc<Tun>> {
        self.all.lock().iter().find(|tun| tun.index == index).cloned()
    }

    fn named(&self, name: &str) -> Option<Arc<Tun>> {
        self.all.lock().iter().find(|tun| tun.name == name).cloned()
    }

    /// A packet for the program behind an interface. It is lost if that reads too slowly, or is gone.
    pub fn send(&self, index: u32, packet: &TxFrame<'_, NetBuffer>) {
        let Some(tun) = self.of(index) else { return };
        let is_taken = tun.deliver(packet);
        let [_, sent] = &mut *tun.traffic.lock();
        match is_taken {
            Ok(true) => sent.add(packet.len()),
            _ => sent.drops += 1,
        }
    }

    /// Notifies those that read packets.
    pub fn tell(&self) {
        for tun in self.all.lock().iter() {
            for queue in tun.queues.lock().iter() {
                if queue.is_fresh.swap(false, Relaxed) {
                    queue.source.notify(Events::IN | Events::RDNORM);
                }
            }
        }
    }

    /// Takes an interface away (`ip link del`). Files that are attached to it fail with EBADFD from then on.
    pub fn remove(&self, home: &Home, tun: &Tun) {
        let changing = self.changing.lock();
        self.remove_locked(home, tun, changing);
    }

    fn remove_locked(&self, home: &Home, tun: &Tun, changing: MutexGuard<'_, ()>) {
        let gone = {
            let mut all = self.all.lock();
            let place = all.iter().position(|own| own.index == tun.index);
            place.map(|place| all.remove(place))
        };
        home.remove_tunnel(tun.index);
        let queues = core::mem::take(&mut *tun.queues.lock());
        drop(changing);
        queues.iter().for_each(|queue| queue.source.notify(Events::all()));
        drop(gone);
    }
}

/// Takes an interface of the program's network up or down. ENODEV.
pub fn set_up(index: u32, is_up: bool) -> Result<(), Errno> {
    change_tunnel(index, |tunnel| tunnel.is_up = is_up)?;
    if let Some(tun) = super::engine().device().tuns().of(index) {
        tun.queues.lock().iter().for_each(|queue| queue.source.notify(Events::OUT | Events::WRNORM));
    }
    Ok(())
}

impl Tun {
    /// What the program has written, and what it was sent.
    pub fn traffic(&self) -> [Traffic; 2] {
        *self.traffic.lock()
    }

    /// Whether a program is attached.
    pub fn has_carrier(&self) -> bool {
        !self.queues.lock().is_empty()
    }

    fn deliver(&self, packet: &TxFrame<'_, NetBuffer>) -> Result<bool, NoMemory> {
        /// Where addresses begin in a header of IPv4.
        const ADDRESSES_AT: usize = 12;
        let queues = self.queues.lock();
        // Packets of one flow go to one queue.
        let flow =
            packet.headers.iter().skip(ADDRESSES_AT).take(8).map(|byte| usize::from(*byte)).sum::<usize>();
        let Some(queue) = queues.get(flow % queues.len().max(1)) else { return Ok(false) };
        let mut waiting = queue.waiting.lock();
        if waiting.packets.len() >= QUEUE_LENGTH as usize
            || waiting.bytes + packet.len() > WAITING_MAX / queues.len()
            || frame::is_below(Watermark::High)
        {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        bytes.make_room(packet.len())?;
        bytes.try_extend_from_slice(packet.headers)?;
        packet.payload.iter().try_for_each(|piece| bytes.try_extend_from_slice(piece.bytes()))?;
        waiting.bytes += bytes.len();
        waiting.packets.try_push_back(bytes)?;
        queue.is_fresh.store(true, Relaxed);
        Ok(true)
    }

    /// EPERM unless the program may attach to this interface of a network namespace.
    fn check_owner(&self, net: Option<&Arc<Room>>) -> Result<(), Errno> {
        /// Index of the effective id.
        const EFFECTIVE: usize = 1;
        let (owner, group) = (self.owner.load(Relaxed), self.group.load(Relaxed));
        let is_meant = coracle_core::this::with(|me| {
            let own = me.process.credentials.lock();
            (owner == NOBODY || owner == own.uid[EFFECTIVE])
                && (group == NOBODY || group == own.gid[EFFECTIVE] || own.groups.contains(&group))
        });
        if is_meant { Ok(()) } else { check_capability_for(net, capability::NET_ADMIN) }
    }
}

/// /dev/net/tun, opened: after TUNSETIFF the other end of an interface.
pub struct TunFile {
    place: Place,
    home: Home,
    /// The network namespace in which it was opened. `None`: the first.
    net: Option<Arc<Room>>,
    queue: Arc<Queue>,
    tun: Mutex<Option<Arc<Tun>>>,
}

impl TunFile {
    /// Opened at a place. ENOMEM.
    pub fn new(place: Place) -> Result<Arc<TunFile>, NoMemory> {
        let queue = Queue {
            waiting: Mutex::new(Waiting::default()),
            source: PollSource::new(),
            is_fresh: AtomicBool::new(false),
        };
        let queue = try_arc(queue)?;
        try_arc(TunFile { place, home: Home::own(), net: network_room(), queue, tun: Mutex::new(None) })
    }

    fn tuns(&self) -> &Tuns {
        Interface::tuns(self.home.device())
    }

    /// Its interface. EBADFD if it is attached to none, or to one that is gone.
    fn tun(&self) -> Result<Arc<Tun>, Errno> {
        let tun = self.tun.lock().clone();
        tun.filter(|tun| self.is_attached(tun)).ok_or(Errno::BADFD)
    }

    fn is_attached(&self, tun: &Tun) -> bool {
        tun.queues.lock().iter().any(|own| Arc::ptr_eq(own, &self.queue))
    }

    /// Takes an interface away that nothing is attached to any more, unless it is to stay.
    fn let_go(&self, tun: &Tun, changing: MutexGuard<'_, ()>) {
        if !tun.has_carrier() && !tun.persists.load(Relaxed) {
            self.tuns().remove_locked(&self.home, tun, changing);
        }
    }

    fn is_up(&self, tun: &Tun) -> bool {
        self.home.tunnel(tun.index).is_some_and(|own| own.is_up)
    }

    /// TUNSETIFF: attaches to the interface that the request names, or to a new one.
    fn attach(&self, request: &mut [u8; NAME_BYTES + 2]) -> Result<(), Errno> {
        let flags = u16::from_le_bytes([request[NAME_BYTES], request[NAME_BYTES + 1]]);
        let mut own = self.tun.lock();
        if own.as_ref().is_some_and(|tun| self.is_attached(tun)) {
            return Err(Errno::EXIST);
        }
        request[NAME_BYTES - 1] = 0;
        let named = request.split(|byte| *byte == 0).next().unwrap_or_default();
        let named = core::str::from_utf8(named).map_err(|_| Errno::INVAL)?;
        let tuns = self.tuns();
        let changing = tuns.changing.lock();
        let tun = match tuns.named(named) {
            Some(tun) => {
                if flags & IFF_TUN_EXCL != 0 {
                    return Err(Errno::BUSY);
                }
                if flags & IFF_TUN == 0 || (flags ^ tun.flags.load(Relaxed)) & IFF_MULTI_QUEUE != 0 {
                    return Err(Errno::INVAL);
                }
                tun.check_owner(self.net.as_ref())?;
                tun
            }
            None => {
                check_capability_for(self.net.as_ref(), capability::NET_ADMIN)?;
                self.add(named, flags)?
            }
        };
        {
            let mut queues = tun.queues.lock();
            if flags & IFF_MULTI_QUEUE == 0 && !queues.is_empty() {
                return Err(Errno::BUSY);
            }
            // As on Linux, the last one that attaches says how packets begin.
            tun.flags.store(IFF_TUN | flags & FEATURES, Relaxed);
            if let Err(error) = queues.try_push(self.queue.clone()) {
                drop(queues);
                self.let_go(&tun, changing);
                return Err(error.into());
            }
        }
        request[..NAME_BYTES].fill(0);
        request[..tun.name.len()].copy_from_slice(tun.name.as_bytes());
        let before = own.replace(tun);
        drop(own);
        drop(changing);
        drop(before);
        self.queue.source.notify(Events::OUT);
        Ok(())
    }

    /// Makes an interface. EINVAL for a name or flags that can't be; ENFILE if there are too many.
    fn add(&self, named: &str, flags: u16) -> Result<Arc<Tun>, Errno> {
        // Of Ethernet frames and of headers for offloads nothing is known here.
        if flags & IFF_TUN == 0 || flags & (IFF_TAP | IFF_VNET_HDR) != 0 {
            return Err(Errno::INVAL);
        }
        let pattern = if named.is_empty() { "tun%d" } else { named };
        let name = self.free_name(pattern)?;
        let tuns = self.tuns();
        let index = tuns.next_index.fetch_add(1, Relaxed);
        let tun = try_arc(Tun {
            index,
            name,
            flags: AtomicU16::new(IFF_TUN | flags & FEATURES),
            owner: AtomicU32::new(NOBODY),
            group: AtomicU32::new(NOBODY),
            persists: AtomicBool::new(false),
            queues: Mutex::new(Vec::new()),
            traffic: Mutex::new(Default::default()),
        })?;
        let tunnel = Tunnel { index, is_up: false, mtu: MTU, address: None };
        self.home.add_tunnel(tunnel).map_err(|_| Errno::NFILE)?;
        if let Err(error) = tuns.all.lock().try_push(tun.clone()) {
            self.home.remove_tunnel(index);
            return Err(error.into());
        }
        Ok(tun)
    }

    /// The name of a new interface: `%d` stands for the first number that makes it one that is free. EINVAL, EEXIST.
    fn free_name(&self, pattern: &str) -> Result<Name, Errno> {
        let is_valid = |name: &str| {
            !matches!(name, "" | "." | "..")
                && !name.contains(['/', ':'])
                && !name.contains(char::is_whitespace)
        };
        let is_taken = |name: &str| interfaces_of(&self.home).iter().any(|own| own.name.as_str() == name);
        let Some((before, after)) = pattern.split_once("%d") else {
            let name = Name::try_from(pattern).map_err(|_| Errno::INVAL)?;
            return match (is_valid(&name) && !name.contains('%'), is_taken(&name)) {
                (false, _) => Err(Errno::INVAL),
                // Those that a program could attach to were found before.
                (true, true) => Err(Errno::INVAL),
                (true, false) => Ok(name),
            };
        };
        // One more than there can be is free.
        for number in 0..=INTERFACES_MAX {
            let mut name = Name::new();
            let written = core::fmt::write(&mut name, format_args!("{before}{number}{after}"));
            if written.is_err() || !is_valid(&name) || after.contains('%') || before.contains('%') {
                return Err(Errno::INVAL);
            }
            if !is_taken(&name) {
                return Ok(name);
            }
        }
        Err(Errno::NFILE)
    }
}

impl File for TunFile {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let tun = self.tun()?;
        let room = dst.remaining();
        if room == 0 {
            return Ok(0);
        }
        let has_information = tun.flags.load(Relaxed) & IFF_NO_PI == 0;
        let packet = block_on(&self.queue.source, nonblock, None, || {
            self.tun()?;
            let mut waiting = self.queue.waiting.lock();
            let packet = waiting.packets.pop_front().ok_or(Errno::AGAIN)?;
            waiting.bytes -= packet.len();
            Ok(packet)
        })?;
        let mut done = 0;
        if has_information {
            if room < INFORMATION_BYTES {
                return Err(Errno::INVAL);
            }
            let is_cut = room < INFORMATION_BYTES + packet.len();
            let kind =
                if packet.first().is_some_and(|first| first >> 4 == 6) { ETH_P_IPV6 } else { ETH_P_IP };
            let [high, low] = kind.to_be_bytes();
            done += dst.put(&[if is_cut { TUN_PKT_STRIP } else { 0 }, 0, high, low])?;
        }
        Ok(done + dst.put(&packet)?)
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        let tun = self.tun()?;
        let len = src.remaining();
        let has_information = tun.flags.load(Relaxed) & IFF_NO_PI == 0;
        if has_information {
            let mut information = [0; INFORMATION_BYTES];
            if len < INFORMATION_BYTES {
                return Err(Errno::INVAL);
            }
            src.take(&mut information)?;
        }
        if src.remaining() > PACKET_MAX {
            return Err(Errno::INVAL);
        }
        let mut packet = coracle_fallible::filled(0, src.remaining())?;
        if src.take(&mut packet)? < packet.len() {
            return Err(Errno::FAULT);
        }
        let version = packet.first().map(|first| first >> 4);
        if !has_information && !matches!(version, Some(4 | 6)) {
            tun.traffic.lock()[0].drops += 1;
            return Err(Errno::INVAL);
        }
        if !self.is_up(&tun) {
            return Err(Errno::IO);
        }
        let now = now_ns();
        let is_taken = self.home.tunnel_receive(now, tun.index, &packet).is_ok();
        let [received, _] = &mut *tun.traffic.lock();
        if is_taken {
            received.add(packet.len())
        } else {
            received.drops += 1
        }
        sent(now);
        Ok(len)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }

    fn readiness(&self) -> Events {
        let Ok(tun) = self.tun() else { return Events::ERR };
        let mut ready = Events::empty();
        if !self.queue.waiting.lock().packets.is_empty() {
            ready = ready | Events::IN | Events::RDNORM;
        }
        if self.is_up(&tun) { ready | Events::OUT | Events::WRNORM } else { ready }
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.queue.source)
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let mut request = [0; NAME_BYTES + 2];
        if command == TUNGETFEATURES {
            user::write_u32(argument, (IFF_TUN | FEATURES).into())?;
            return Ok(0);
        }
        if command == TUNSETIFF {
            user::read(&mut request, argument)?;
            self.attach(&mut request)?;
            user::write(argument, &request)?;
            return Ok(0);
        }
        let tun = self.tun()?;
        match command {
            TUNGETIFF => {
                let persists = if tun.persists.load(Relaxed) { IFF_PERSIST } else { 0 };
                request[..tun.name.len()].copy_from_slice(tun.name.as_bytes());
                request[NAME_BYTES..]
                    .copy_from_slice(&(tun.flags.load(Relaxed) | persists | IFF_NOFILTER).to_le_bytes());
                user::write(argument, &request)?;
            }
            TUNSETNOCSUM => {}
            TUNSETPERSIST => tun.persists.store(argument != 0, Relaxed),
            TUNSETOWNER => tun.owner.store(argument as u32, Relaxed),
            TUNSETGROUP => tun.group.store(argument as u32, Relaxed),
            // There are none.
            TUNSETOFFLOAD if argument == 0 => {}
            _ => return Err(Errno::INVAL),
        }
        Ok(0)
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn closed(&self) {
        let Some(tun) = self.tun.lock().take().filter(|tun| self.is_attached(tun)) else { return };
        let changing = self.tuns().changing.lock();
        tun.queues.lock().retain(|own| !Arc::ptr_eq(own, &self.queue));
        self.let_go(&tun, changing);
    }
}
