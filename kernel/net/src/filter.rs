//! Filters of the packets that a socket receives (socket(7), SO_ATTACH_FILTER).
use coracle_bpf::{Fault, Instruction, PROGRAM_MAX, Program};
use coracle_core::errno::Errno;
use coracle_core::mm::user;

/// The program of a `struct sock_fprog`. EFAULT, EINVAL, ENOMEM.
pub fn read(value: &[u8]) -> Result<Program, Errno> {
    const PROGRAM_AT: usize = 8;
    let (Some(len), Some(at)) =
        (value.first_chunk(), value.get(PROGRAM_AT..).and_then(|rest| rest.first_chunk()))
    else {
        return Err(Errno::INVAL);
    };
    let len = usize::from(u16::from_le_bytes(*len));
    if !(1..=PROGRAM_MAX).contains(&len) {
        return Err(Errno::INVAL);
    }
    let mut bytes = coracle_fallible::filled(0, len * Instruction::BYTES)?;
    user::read(&mut bytes, u64::from_le_bytes(*at) as usize)?;
    Program::decode(&bytes).map_err(|fault| match fault {
        Fault::NoMemory => Errno::NOMEM,
        _ => Errno::INVAL,
    })
}
