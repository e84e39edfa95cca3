//! What packets do that have come (virtio 1.2, section 5.10.6). Nothing of them is believed: of packets that no connection, or no credit,
//! allows there comes a reset at most.
use super::link::{self, Link, header_of, write_header};
use super::socket::{Phase, State, VsockSocket};
use super::{CID_ANY, CID_LOCAL, table};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::Events;
use coracle_hal::io::dma::PacketBuffer;
use coracle_virtio::device::vsock::{HEADER_BYTES, Header, operation, shutdown};

/// A packet of so many bytes has come by a link. Another buffer is in its place if it was kept. At most one packet is queued in
/// answer.
pub fn packet(link: Link, buffer: &mut PacketBuffer, len: usize) {
    let Some(header) = header_of(buffer, len) else { return };
    // A device speaks for other machines, and to this one.
    if link == Link::Device {
        let own = link::own_cid();
        let is_own = matches!(header.source.cid, CID_ANY | CID_LOCAL) || own == Some(header.source.cid);
        if is_own || own != Some(header.destination.cid) {
            return;
        }
    }
    let is_taken = match table::find(&header) {
        Some(socket) if socket.packet_type() == header.kind => socket.take(link, &header, buffer),
        _ => false,
    };
    if !is_taken && header.operation != operation::RST {
        refuse(link, &header);
    }
}

/// Answers a packet by a reset (section 5.10.6.6.1).
fn refuse(link: Link, header: &Header) {
    let reset = Header {
        source: header.destination,
        destination: header.source,
        kind: header.kind,
        operation: operation::RST,
        ..Header::default()
    };
    // Without memory the peer learns it later.
    if let Some(mut buffer) = PacketBuffer::alloc() {
        write_header(&mut buffer, &reset);
        let _ = link.send(Some((buffer, HEADER_BYTES)).into_iter());
    }
}

/// What follows from a packet with the lock released.
struct Effect {
    events: Events,
    kept: Option<Arc<VsockSocket>>,
}

impl VsockSocket {
    /// Takes a packet. False: it is to be refused.
    fn take(&self, link: Link, header: &Header, buffer: &mut PacketBuffer) -> bool {
        let mut effect = Effect { events: Events::empty(), kept: None };
        let is_taken = {
            let mut state = self.state.lock();
            let is_from_peer = (state.link, state.remote) == (link, header.source);
            match state.phase {
                Phase::Listening { .. } if header.operation == operation::REQUEST => {
                    effect.events = Events::IN;
                    self.admit(&mut state, link, header).is_ok()
                }
                Phase::Connecting if is_from_peer => self.take_answer(&mut state, header, &mut effect),
                Phase::Connected if is_from_peer => {
                    self.take_of_peer(&mut state, header, buffer, &mut effect)
                }
                _ => false,
            }
        };
        self.source.notify(effect.events);
        is_taken
    }

    /// What a connection that is being made is answered.
    fn take_answer(&self, state: &mut State, header: &Header, effect: &mut Effect) -> bool {
        effect.events = Events::all();
        let error = match header.operation {
            operation::RESPONSE => {
                state.credit.hear(header);
                state.phase = Phase::Connected;
                return true;
            }
            operation::RST => Errno::CONNRESET,
            _ => Errno::PROTO,
        };
        state.error = Some(error);
        effect.kept = self.end(state, Phase::Idle);
        error == Errno::CONNRESET
    }

    /// What the peer of a connection sends.
    fn take_of_peer(
        &self,
        state: &mut State,
        header: &Header,
        buffer: &mut PacketBuffer,
        effect: &mut Effect,
    ) -> bool {
        let before = state.credit.room();
        state.credit.hear(header);
        // An answer that brings no more room is asked for once: the peer says by itself when its program has taken something.
        if state.credit.room() > before {
            state.has_asked = false;
            effect.events = Events::OUT;
        }
        match header.operation {
            operation::RW => {
                if self.keep(state, header, buffer) {
                    effect.events |= Events::IN;
                    return true;
                }
                // Bytes are lost, so that it can't go on.
                effect.kept = self.lose(state, effect);
                return false;
            }
            // Without memory it asks again, or hears of it with the next packet.
            operation::CREDIT_REQUEST => {
                let _ = self.say(state, operation::CREDIT_UPDATE, 0);
            }
            operation::SHUTDOWN => {
                state.peer_shut |= header.flags & shutdown::BOTH;
                effect.events = Events::all();
                let is_done = state.lingers.is_some() || !state.has_data(self.has_packets);
                if state.peer_shut == shutdown::BOTH && is_done {
                    effect.kept = self.lose(state, effect);
                    return false;
                }
            }
            operation::RST => effect.kept = self.lose(state, effect),
            _ => {}
        }
        true
    }

    /// The connection is over.
    fn lose(&self, state: &mut State, effect: &mut Effect) -> Option<Arc<VsockSocket>> {
        effect.events = Events::all();
        state.peer_shut = shutdown::BOTH;
        self.end(state, Phase::Over)
    }

    /// Keeps bytes for the program. False: the peer has no credit for them, or there is no memory.
    fn keep(&self, state: &mut State, header: &Header, buffer: &mut PacketBuffer) -> bool {
        let len = header.len;
        if !state.credit.receive(len) {
            return false;
        }
        if state.lingers.is_some() {
            state.credit.take(len);
            return true;
        }
        state.inbox.push(buffer, len as usize).is_ok()
            && (!self.has_packets || state.inbox.mark(len as usize, header.flags).is_ok())
    }
}
