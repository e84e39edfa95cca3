//! The protocol of the control port, a stream of bytes in each direction between `coracle run` and its guest. The sockets
//! on which `coracle run` takes requests for its guest from other commands speak it, too.
//!
//! A message is a kind and a length, 16 bits each and little-endian, and as many bytes as the length says. A receiver
//! skips kinds that it doesn't know, and bytes after those it knows, so that either side can be the newer one. Each side
//! begins with [`Message::Hello`]. Neither trusts the other: any bytes are a sequence of messages.
//!
//! A [`Request`] has a number, and so have the pieces of its answer and its end. Requests that a guest does not know are
//! answered with ENOSYS, those that it forbids with EPERM.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod words;

mod debug;
mod events;
mod life;
mod machine;
mod message;
mod reader;
mod request;
mod session;
mod sockets;
mod threads;
mod trace;

pub use debug::{Debug, DebugEvent, Resume, ThreadState, debug_event, resume_flag};
pub use events::{EventRecord, EventsHead, RingHead, event};
pub use life::{CronRecord, LifeRequest};
pub use machine::{CpuRecord, SampleRecord};
pub use message::{
    HEADER_BYTES, LOG_BYTES, LONGEST_FROM_GUEST, LONGEST_TO_GUEST, Message, PIECE_BYTES, REQUESTS_SINCE,
    VERSION, Window,
};
pub use reader::{FromGuest, Reader, ToGuest};
pub use request::{Request, link};
pub use session::{
    Attributes, READ_MOST, STAGE_MOST, SessionRequest, Started, TreeChange, WRITE_MOST, exec_flag,
};
pub use sockets::{PacketRecord, SocketRecord, SocketsHead, packet, socket_flag, socket_kind};
pub use threads::{Moment, NAME_BYTES, REGISTERS, ThreadRecord, thread_flag};
pub use trace::{
    ARGUMENTS, BUFFER_MOST, CALL_WORDS, CALLS, CAPTURE_MOST, CAPTURES_MOST, CHOICE_BYTES, CODE_SAMPLE,
    Capture, ENTRY_WORDS, Extent, STACK_MOST, STACK_REGISTERS, TraceCall, TraceRecord,
};
