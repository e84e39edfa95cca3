//! The interface to a network device: packet memory, transmission, and the offloads that the device supports.
//!
//! The driver owns packet memory (it must be reachable by DMA). Data that a program sends is written once, into
//! buffers from [`Device::alloc`], and stays there until the peer has acknowledged it. Data that arrives stays in the
//! buffers of its [`RxFrame`] until the program reads it. In between, only references are passed.

use crate::raw::RawPacket;
use crate::reports::Unsent;
use alloc::vec::Vec;

/// A piece of packet memory of fixed size (2 KiB is typical), shared by cloning like an `Arc`; or bytes of any number that are
/// never written, which can be sent from where they lie.
///
/// A clone must be cheap (a reference count): the engine keeps one for retransmission while the driver keeps another
/// until the device is done with it. Dropping the last one returns the memory to its pool.
pub trait Buffer: Clone + Send + Sync + 'static {
    /// The whole buffer, whatever part of it is in use.
    fn as_slice(&self) -> &[u8];

    /// The whole buffer for writing, or `None` while another clone exists.
    fn as_mut_slice(&mut self) -> Option<&mut [u8]>;
}

/// A part of a [`Buffer`] that one owner holds: `buffer.as_slice()[start..start + len]`.
#[derive(Clone, Debug)]
pub struct Chunk<B> {
    /// The memory.
    pub buffer: B,
    /// First byte in use.
    pub start: u32,
    /// Number of bytes in use.
    pub len: u32,
}

impl<B: Buffer> Chunk<B> {
    /// A chunk of `buffer`, or `None` if it does not lie inside.
    pub fn new(buffer: B, start: usize, len: usize) -> Option<Self> {
        if start.checked_add(len)? > buffer.as_slice().len() {
            return None;
        }
        Some(Chunk { buffer, start: start as u32, len: len as u32 })
    }

    /// The bytes in use.
    pub fn bytes(&self) -> &[u8] {
        let start = self.start as usize;
        self.buffer.as_slice().get(start..start + self.len as usize).unwrap_or(&[])
    }

    /// Drops the first `count` bytes (at most all of them).
    pub fn skip(&mut self, count: usize) {
        let count = (count as u32).min(self.len);
        self.start += count;
        self.len -= count;
    }
}

/// A part of a buffer to transmit, borrowed: the driver clones `buffer` if it needs it after `transmit` returns.
#[derive(Debug)]
pub struct Fragment<'a, B> {
    /// The memory.
    pub buffer: &'a B,
    /// First byte to send.
    pub start: u32,
    /// Number of bytes to send.
    pub len: u32,
}

impl<B> Clone for Fragment<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Fragment<'_, B> {}

impl<'a, B: Buffer> Fragment<'a, B> {
    /// The bytes to send.
    pub fn bytes(&self) -> &'a [u8] {
        let start = self.start as usize;
        self.buffer.as_slice().get(start..start + self.len as usize).unwrap_or(&[])
    }
}

/// A checksum left to the device, in virtio's manner (VIRTIO 1.2, 5.1.6.2): the device sums the frame from byte
/// `start` to its end and writes the complement `offset` bytes after `start`; the field already holds the sum of the
/// pseudo-header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// First byte summed, counted from the start of the Ethernet header.
    pub start: u16,
    /// Offset of the checksum, from `start`.
    pub offset: u16,
}

/// A frame to transmit.
#[derive(Debug)]
pub struct TxFrame<'a, B> {
    /// Ethernet, IP and transport headers. They live on the caller's stack: the driver copies them.
    pub headers: &'a [u8],
    /// What follows the headers. At most [`Capabilities::max_fragments`] of them.
    pub payload: &'a [Fragment<'a, B>],
    /// The transport checksum, if the device is to complete it.
    pub checksum: Option<PartialChecksum>,
    /// For TCP over IPv4: the device cuts the payload into segments of this many bytes (TSO).
    pub segment_size: Option<u16>,
}

impl<B: Buffer> TxFrame<'_, B> {
    /// Length of the whole frame in bytes.
    pub fn len(&self) -> usize {
        self.headers.len() + self.payload.iter().map(|f| f.len as usize).sum::<usize>()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the driver knows of the transport checksum of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RxChecksum {
    /// Nothing: the engine sums.
    #[default]
    Unknown,
    /// The device has checked it (`VIRTIO_NET_HDR_F_DATA_VALID`).
    Valid,
    /// The packet never left this host: its checksum field is not complete, and its data is trusted
    /// (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
    Partial,
}

/// A received Ethernet frame, in one or several buffers, which the engine keeps as long as it needs the data.
#[derive(Debug)]
pub struct RxFrame<B> {
    /// The first chunk; it starts at the Ethernet header and must hold all headers up to the transport's.
    pub head: Chunk<B>,
    /// The following chunks (merged receive buffers). An empty `Vec` costs nothing.
    pub rest: Vec<Chunk<B>>,
    /// What is known of the transport checksum.
    pub checksum: RxChecksum,
    /// If the device joined several TCP segments (LRO/GRO): the payload size of each but the last; else 0.
    pub segment_size: u16,
}

impl<B: Buffer> RxFrame<B> {
    /// A frame in one buffer.
    pub fn single(head: Chunk<B>, checksum: RxChecksum) -> Self {
        RxFrame { head, rest: Vec::new(), checksum, segment_size: 0 }
    }

    /// Length of the whole frame in bytes.
    pub fn len(&self) -> usize {
        self.head.len as usize + self.rest.iter().map(|c| c.len as usize).sum::<usize>()
    }

    /// Whether the frame holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a device does by itself. Constant over the device's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Completes transport checksums ([`TxFrame::checksum`]).
    pub tx_checksum: bool,
    /// Greatest IP packet that `segment_size` may be used with (65,535 is usual), or 0 for no TSO.
    pub tso4_max: usize,
    /// How many fragments a frame's payload may have (at least 1).
    pub max_fragments: usize,
}

/// Bytes that a driver may use before a frame that is sent in place: room for the 12 of virtio, and what makes a payload
/// behind the usual headers begin at a multiple of 16.
pub const DRIVER_ROOM: usize = 14;

/// The transmit queue has no room. The engine tries again from `poll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// An Ethernet device. It is called with locks of connections held, and must not call the engine.
///
/// A device without a link may exist (a machine with no network card still has its loopback): as long as no address
/// is configured, only `alloc` is called.
pub trait Device: Send + Sync + 'static {
    /// Its packet memory.
    type Buf: Buffer;

    /// Its Ethernet address.
    fn mac(&self) -> [u8; 6];

    /// Greatest IP packet that fits a frame, in bytes (1500 is usual).
    fn mtu(&self) -> usize;

    /// What it does by itself.
    fn capabilities(&self) -> Capabilities;

    /// A buffer without another owner, contents unspecified; `None` when memory is short.
    /// All buffers are of the same size, at least 256 bytes.
    fn alloc(&self) -> Option<Self::Buf>;

    /// The same for a packet on the loopback, which is received as it is sent: what bounds the memory of packets to send must
    /// not lose it. Without `keeps` it has no data, as a SYN or an acknowledgement, and is given back before the engine
    /// returns.
    fn alloc_looped(&self, keeps: bool) -> Option<Self::Buf> {
        let _ = keeps;
        self.alloc()
    }

    /// A packet that goes over the loopback, without an Ethernet header, while [`Stack::watch_loopback`](crate::Stack::watch_loopback)
    /// asks for them. The engine holds locks.
    fn looped(&self, frame: &RxFrame<Self::Buf>) {
        let _ = frame;
    }

    /// Notifies the watchers of packets, as [`Stack::tell_watchers_later`](crate::Stack::tell_watchers_later) asked. Within the path of a
    /// packet they are not notified: the stack is deep there, and locks are held.
    fn tell_watchers(&self) {}

    /// A packet that goes over the tunnel of this number, without an Ethernet header; it is lost if there is no room. The engine holds locks, and
    /// calls [`tell_watchers`](Self::tell_watchers) later.
    fn tunnel(&self, index: u32, packet: TxFrame<'_, Self::Buf>) {
        let _ = (index, packet);
    }

    /// A packet for this host that is neither of TCP nor of UDP: whether something other than the engine takes packets of its protocol.
    /// The engine holds no lock but that of the loopback's drain.
    fn raw(&self, now: u64, packet: &RawPacket<'_, Self::Buf>) -> bool {
        let _ = (now, packet);
        false
    }

    /// A packet of this host that is neither of TCP nor of UDP could not be delivered.
    fn raw_unsent(&self, now: u64, unsent: &Unsent<'_>) {
        let _ = (now, unsent);
    }

    /// True while the packet that the device delivers must not be kept, because its memory is all there is to receive
    /// the next: its acknowledgements count, its data is as good as lost.
    #[inline(always)]
    fn is_short(&self) -> bool {
        false
    }

    /// True while packet memory is nearly used up: connections that have much to send get no more of it, so that others
    /// get some.
    #[inline(always)]
    fn is_pressed(&self) -> bool {
        false
    }

    /// Puts a frame into the transmit queue. The doorbell is not rung here: the caller of the engine rings it once
    /// per batch, after all its calls.
    fn transmit(&self, frame: TxFrame<'_, Self::Buf>) -> Result<(), Full>;

    /// The same for a frame that is in one buffer as a whole, `buffer[start..start + len]`, and is not to be cut up:
    /// what a busy connection sends. Nobody else holds the buffer, and the [`DRIVER_ROOM`] bytes before the frame are the
    /// driver's until the device is done with it.
    #[inline]
    fn transmit_in_place(
        &self,
        buffer: &mut Self::Buf,
        start: u32,
        len: u32,
        checksum: Option<PartialChecksum>,
    ) -> Result<(), Full> {
        self.transmit(TxFrame {
            headers: &[],
            payload: &[Fragment { buffer, start, len }],
            checksum,
            segment_size: None,
        })
    }
}
