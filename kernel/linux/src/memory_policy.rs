//! Memory policies (numa(7)) of a machine whose memory is all on one node, number 0: get_mempolicy(2) and its kin. A thread's policy is
//! kept and told; none changes where pages are.
use super::call::Call;
use super::other_process::process_of;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::memory::page_range;
use coracle_core::mm::user;
use coracle_core::task::process::Process;
use coracle_core::task::{long_call, look_into};
use coracle_hal::sync::atomic::Ordering::Relaxed;

/// Modes (linux/mempolicy.h).
const DEFAULT: u32 = 0;
const PREFERRED: u32 = 1;
const BIND: u32 = 2;
const INTERLEAVE: u32 = 3;
const LOCAL: u32 = 4;
const PREFERRED_MANY: u32 = 5;
const MODES: u32 = 7;
/// Flags of a mode.
const STATIC_NODES: u32 = 1 << 15;
const RELATIVE_NODES: u32 = 1 << 14;
const NUMA_BALANCING: u32 = 1 << 13;
const MODE_FLAGS: u32 = STATIC_NODES | RELATIVE_NODES | NUMA_BALANCING;
/// Beside the mode in a thread's word: node 0 is among the policy's nodes.
const HAS_NODE: u32 = 1 << 16;
/// Flags of get_mempolicy(2).
const F_NODE: u32 = 1;
const F_ADDR: u32 = 2;
const F_MEMS_ALLOWED: u32 = 4;
/// Flags of mbind(2) and move_pages(2).
const MF_STRICT: u32 = 1;
const MF_MOVE: u32 = 2;
const MF_MOVE_ALL: u32 = 4;
/// Nodes that there may be (Linux's MAX_NUMNODES), and bits that a mask may have.
const MAX_NODES: u64 = 1024;
const MASK_BITS_MAX: u64 = 4096 * 8;

/// Whether a mask of nodes has any, and whether it has node 0. EINVAL, EFAULT.
fn nodes(at: usize, bits: u64) -> Result<(bool, bool), Errno> {
    let bits = bits.wrapping_sub(1);
    if bits == 0 || at == 0 {
        return Ok((false, false));
    }
    if bits > MASK_BITS_MAX {
        return Err(Errno::INVAL);
    }
    let (mut any, mut first) = (false, false);
    for index in 0..bits.div_ceil(64) {
        let kept = (bits - index * 64).min(64);
        let word = user::read_u64(at + index as usize * 8)? & (u64::MAX >> (64 - kept));
        if word != 0 && index * 64 >= MAX_NODES {
            return Err(Errno::INVAL);
        }
        any |= word != 0;
        first |= index == 0 && word & 1 != 0;
    }
    Ok((any, first))
}

/// A thread's word of a policy. EINVAL, EFAULT.
fn policy(mode: u32, mask: usize, bits: u64) -> Result<u32, Errno> {
    let (kind, flags) = (mode & !MODE_FLAGS, mode & MODE_FLAGS);
    let places = flags & (STATIC_NODES | RELATIVE_NODES);
    if kind >= MODES
        || places == STATIC_NODES | RELATIVE_NODES
        || flags & NUMA_BALANCING != 0 && !matches!(kind, BIND | PREFERRED_MANY)
    {
        return Err(Errno::INVAL);
    }
    let (any, first) = nodes(mask, bits)?;
    match kind {
        DEFAULT if any => Err(Errno::INVAL),
        DEFAULT => Ok(0),
        LOCAL | PREFERRED if !any => {
            if places != 0 {
                Err(Errno::INVAL)
            } else {
                Ok(LOCAL)
            }
        }
        LOCAL => Err(Errno::INVAL),
        _ if !first && flags & RELATIVE_NODES == 0 || !any => Err(Errno::INVAL),
        _ => Ok(mode | HAS_NODE),
    }
}

/// set_mempolicy(2).
pub fn set_mempolicy(call: &Call) -> SysResult {
    let word = policy(call.u32(0), call.usize(1), call.raw(2))?;
    call.thread().memory_policy.store(word, Relaxed);
    Ok(0)
}

/// get_mempolicy(2). A region's policy is the thread's.
pub fn get_mempolicy(call: &Call) -> SysResult {
    let (mode_at, mask, bits, address, flags) =
        (call.usize(0), call.usize(1), call.raw(2), call.usize(3), call.u32(4));
    let own = call.thread().memory_policy.load(Relaxed);
    let (for_node, for_address) = (flags & F_NODE != 0, flags & F_ADDR != 0);
    if mask != 0 && bits == 0 || flags & !(F_NODE | F_ADDR | F_MEMS_ALLOWED) != 0 {
        return Err(Errno::INVAL);
    }
    let (value, has_node) = if flags & F_MEMS_ALLOWED != 0 {
        if for_node || for_address {
            return Err(Errno::INVAL);
        }
        (0, true)
    } else {
        if for_address {
            let memory = call.thread().process.memory();
            memory.region_at(address).ok_or(Errno::FAULT)?;
            if for_node {
                memory.read(address, &mut [0]).map_err(|_| Errno::FAULT)?;
            }
        } else if address != 0 || for_node && own & !(MODE_FLAGS | HAS_NODE) != INTERLEAVE {
            return Err(Errno::INVAL);
        }
        // The node, or the next one to be used, is 0.
        (if for_node { 0 } else { own & !HAS_NODE }, own & HAS_NODE != 0)
    };
    if mode_at != 0 {
        user::write_u32(mode_at, value)?;
    }
    if mask != 0 {
        for index in 0..bits.min(MASK_BITS_MAX).div_ceil(64) {
            user::write_u64(mask + index as usize * 8, u64::from(has_node && index == 0))?;
        }
    }
    Ok(0)
}

/// mbind(2): all pages are where any policy would have them.
pub fn mbind(call: &Call) -> SysResult {
    let flags = call.u32(5);
    let mode = call.u32(2);
    policy(mode, call.usize(3), call.raw(4))?;
    if flags & !(MF_STRICT | MF_MOVE | MF_MOVE_ALL) != 0 {
        return Err(Errno::INVAL);
    }
    if flags & MF_MOVE_ALL != 0 {
        check_capability(capability::SYS_NICE)?;
    }
    let range = page_range(call.usize(0), call.usize(1), Errno::INVAL)?;
    if call.thread().process.memory().covers(range) { Ok(0) } else { Err(Errno::FAULT) }
}

/// The process with this id, or the caller, if the caller may look into it. ESRCH, EPERM.
fn target(call: &Call, pid: i32) -> Result<Arc<Process>, Errno> {
    let target = if pid == 0 { call.thread().process.clone() } else { process_of(pid)? };
    look_into::check(&target)?;
    Ok(target)
}

/// migrate_pages(2). Returns how many pages could not be moved: none.
pub fn migrate_pages(call: &Call) -> SysResult {
    nodes(call.usize(2), call.raw(1))?;
    let (any, first) = nodes(call.usize(3), call.raw(1))?;
    target(call, call.i32(0))?;
    if any && !first {
        check_capability(capability::SYS_NICE)?;
    }
    Ok(0)
}

/// move_pages(2): says where pages are, which is where they are to be moved to.
pub fn move_pages(call: &Call) -> SysResult {
    let (count, pages, nodes, states, flags) =
        (call.usize(1), call.usize(2), call.usize(3), call.usize(4), call.u32(5));
    if flags & !(MF_MOVE | MF_MOVE_ALL) != 0 {
        return Err(Errno::INVAL);
    }
    if flags & MF_MOVE_ALL != 0 {
        check_capability(capability::SYS_NICE)?;
    }
    let memory = target(call, call.i32(0))?.memory();
    for index in 0..count {
        let address = user::read_u64(pages.wrapping_add(index.wrapping_mul(8)))? as usize;
        if nodes != 0 && user::read_u32(nodes.wrapping_add(index.wrapping_mul(4)))? != 0 {
            return Err(Errno::NODEV);
        }
        let state = match memory.region_at(address) {
            None => Errno::FAULT.to_rax() as u32,
            Some(_) if !memory.is_present(address) => Errno::NOENT.to_rax() as u32,
            Some(_) => 0,
        };
        user::write_u32(states.wrapping_add(index.wrapping_mul(4)), state)?;
        long_call::pause_unless_killed()?;
    }
    Ok(0)
}
