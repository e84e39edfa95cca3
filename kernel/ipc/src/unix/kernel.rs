//! A datagram socket of the kernel's: what is sent to it goes to a function at once, in the thread that sends. Nothing is queued, and
//! a sender that is faster than what takes the messages waits.
use super::address;
use super::inbox::Message;
use super::socket::{Kind, Role, State, Taker, UnixSocket};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Inode, NewNode};
use coracle_hal::sync::MutexGuard;
use linux_raw_sys::general::S_IFSOCK;

/// The permission bits of the node: any user may send.
const MODE: u32 = 0o666;

/// Makes a socket `name` in `directory`, whose messages `taker` takes. It goes on as long as what is returned is there. EEXIST, ENOMEM.
pub fn serve(directory: &Arc<dyn Inode>, name: &[u8], taker: Taker) -> Result<Arc<UnixSocket>, Errno> {
    let socket = UnixSocket::new(Kind::Datagram)?;
    let node = directory.create(name, NewNode::Special(S_IFSOCK, 0), MODE)?;
    let key = address::register_node(&node, &socket)?;
    let mut state = socket.state.lock();
    (state.key, state.role, state.read_closed) = (Some(key), Role::Kernel(taker), true);
    drop(state);
    Ok(socket)
}

/// Delivers a message to a socket that is closed for reading. EPIPE if it is none of the kernel's; what the kernel says.
#[cold]
pub(super) fn deliver(state: MutexGuard<State>, message: &mut Option<Message>) -> Result<(), Errno> {
    let Role::Kernel(taker) = state.role else { return Err(Errno::PIPE) };
    drop(state);
    match message.take() {
        Some(message) => taker(message.rest(), message.credentials.0),
        None => Ok(()),
    }
}
