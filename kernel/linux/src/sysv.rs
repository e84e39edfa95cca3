//! System V IPC (sysvipc(7)): semop(2), msgop(2), shmop(2) and their relatives.
use super::call::Call;
use alloc::vec::Vec;
use coracle_core::arch::semid;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::user;
use coracle_core::task::pid_space;
use coracle_core::time::posix_clock;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_ipc::space::Handle;
use coracle_ipc::sysv::messages::{self, MessageQueue, Receive};
use coracle_ipc::sysv::object::{self, IPC_NOWAIT};
use coracle_ipc::sysv::segments::{self, Segment};
use coracle_ipc::sysv::semaphores::{self, Set};
use coracle_sysv::{MAX_VALUE, Message, Operation, Permission, READ, Selection, WRITE, Waits};

/// Commands of the three `ctl` calls (linux/ipc.h).
const IPC_RMID: u32 = 0;
const IPC_SET: u32 = 1;
const IPC_STAT: u32 = 2;
const IPC_INFO: u32 = 3;

/// Bytes of `struct ipc64_perm`, with which the structures of IPC_STAT begin.
const PERMISSION_WORDS: usize = 6;

/// `struct ipc64_perm`: key, uid, gid, cuid, cgid, mode of 32 bits each, the sequence number, two words of zeroes.
fn permission_words(permission: &Permission, id: i32) -> [u64; PERMISSION_WORDS] {
    /// Objects of a kind: an identifier is the sequence number times that, and a place.
    const PLACES: i32 = 1 << 15;
    let Permission { key, uid, gid, creator_uid, creator_gid, mode } = *permission;
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    [pair(key as u32, uid), pair(gid, creator_uid), pair(creator_gid, mode), (id / PLACES) as u64, 0, 0]
}

/// User, group and mode of the `struct ipc64_perm` that IPC_SET is given. EFAULT.
fn read_permission(address: usize) -> Result<(u32, u32, u32), Errno> {
    let words: [u64; PERMISSION_WORDS] = user::read_words(address)?;
    Ok(((words[0] >> 32) as u32, words[1] as u32, (words[2] >> 32) as u32))
}

/// Two numbers of 32 bits as a word holds them.
fn pair(low: i32, high: i32) -> u64 {
    u64::from(low as u32) | u64::from(high as u32) << 32
}

/// Numbers as a C `int` shows them.
fn int(value: usize) -> i32 {
    value.min(i32::MAX as usize) as i32
}

/// What IPC_INFO and its relatives return: the highest place that is taken.
fn highest<T: object::Object>() -> usize {
    let handle = Handle::own();
    handle.used().map_or(0, |space| T::all(space).lock().highest_index())
}

/// shmget(2). Huge pages there are none: ENOMEM, as without any in the pool.
pub fn shmget(call: &Call) -> SysResult {
    const SHM_HUGETLB: u32 = 0o4000;
    if call.u32(2) & SHM_HUGETLB != 0 {
        return Err(Errno::NOMEM);
    }
    segments::find_or_make(call.i32(0), call.usize(1), call.u32(2))
}

/// shmat(2).
pub fn shmat(call: &Call) -> SysResult {
    segments::attach(&call.thread().process.memory(), call.i32(0), call.usize(1), call.u32(2))
}

/// shmdt(2).
pub fn shmdt(call: &Call) -> SysResult {
    segments::detach(&call.thread().process.memory(), call.usize(0))?;
    Ok(0)
}

/// shmctl(2).
pub fn shmctl(call: &Call) -> SysResult {
    const SHM_LOCK: u32 = 11;
    const SHM_UNLOCK: u32 = 12;
    const SHM_STAT: u32 = 13;
    const SHM_INFO: u32 = 14;
    const SHM_STAT_ANY: u32 = 15;
    let (id, command, address) = (call.i32(0), call.u32(1), call.usize(2));
    if id < 0 {
        return Err(Errno::INVAL);
    }
    match command {
        IPC_INFO => {
            // shmmax, shmmin, shmmni, shmseg, shmall, and four that are not used.
            let (most, all) = (segments::MAX_SEGMENTS as u64, segments::max_pages());
            user::write_words(address, &[segments::MAX_BYTES, 1, most, most, all, 0, 0, 0, 0])?;
            Ok(highest::<Segment>())
        }
        SHM_INFO => {
            // Segments, pages, resident pages, swapped pages, and two that are not used.
            let totals = segments::totals();
            let (segments, pages) = (totals.segments as u64, totals.pages);
            user::write_words(address, &[segments, pages, totals.resident_pages, 0, 0, 0])?;
            Ok(highest::<Segment>())
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let (found, segment) = if command == IPC_STAT {
                (id, object::get::<Segment>(id)?)
            } else {
                object::at::<Segment>(id)?
            };
            let words = segment.with(|state| {
                if command != SHM_STAT_ANY {
                    object::check(&state.permission, READ)?;
                }
                let [a, b, c, d, e, f] = permission_words(&state.permission, found);
                let users = pair(pid_space::seen(state.creator), pid_space::seen(state.last_user));
                let (attached, size) = (state.attached() as u64, segment.size as u64);
                let (attached_s, detached_s, changed_s) =
                    (state.attached_s, state.detached_s, state.changed_s);
                Ok::<_, Errno>([
                    a, b, c, d, e, f, size, attached_s, detached_s, changed_s, users, attached, 0, 0,
                ])
            })?;
            user::write_words(address, &words)?;
            Ok(if command == IPC_STAT { 0 } else { found as usize })
        }
        IPC_SET => {
            let (uid, gid, mode) = read_permission(address)?;
            object::get::<Segment>(id)?.with(|state| {
                object::check_control(&state.permission)?;
                state.permission.change(uid, gid, mode);
                state.changed_s = object::now_s();
                Ok(0)
            })
        }
        IPC_RMID => segments::remove(id).map(|()| 0),
        SHM_LOCK | SHM_UNLOCK => object::get::<Segment>(id)?.with(|state| {
            // Nothing is ever paged out: it is only shown.
            object::check_control(&state.permission).or_else(|_| check_capability(capability::IPC_LOCK))?;
            if command == SHM_LOCK {
                state.permission.mode |= segments::SHM_LOCKED;
            } else {
                state.permission.mode &= !segments::SHM_LOCKED;
            }
            Ok(0)
        }),
        _ => Err(Errno::INVAL),
    }
}

/// semget(2).
pub fn semget(call: &Call) -> SysResult {
    semaphores::find_or_make(call.i32(0), call.i32(1), call.u32(2))
}

/// semop(2).
pub fn semop(call: &Call) -> SysResult {
    operate(call, None)
}

/// semtimedop(2).
pub fn semtimedop(call: &Call) -> SysResult {
    let deadline_ns = posix_clock::read_relative_deadline(call.usize(3))?;
    operate(call, deadline_ns)
}

fn operate(call: &Call, deadline_ns: Option<u64>) -> SysResult {
    /// Of `struct sembuf`: sem_num, sem_op, sem_flg.
    const OPERATION_BYTES: usize = 6;
    const SEM_UNDO: u16 = 0x1000;
    let (id, address, count) = (call.i32(0), call.usize(1), call.u32(2) as usize);
    if count == 0 || id < 0 {
        return Err(Errno::INVAL);
    }
    if count > semaphores::MAX_OPERATIONS {
        return Err(Errno::TOOBIG);
    }
    let mut bytes = filled(0, count * OPERATION_BYTES)?;
    user::read(&mut bytes, address)?;
    let (fields, _) = bytes.as_chunks::<OPERATION_BYTES>();
    let operations: Vec<Operation> = fields
        .iter()
        .map(|&[a, b, c, d, e, f]| {
            let flags = u16::from_le_bytes([e, f]);
            Operation {
                number: u16::from_le_bytes([a, b]),
                change: i16::from_le_bytes([c, d]),
                no_wait: u32::from(flags) & IPC_NOWAIT != 0,
                undo: flags & SEM_UNDO != 0,
            }
        })
        .try_collect_vec()?;
    object::get::<Set>(id)?.operate(&operations, deadline_ns)?;
    Ok(0)
}

/// semctl(2).
pub fn semctl(call: &Call) -> SysResult {
    const GETPID: u32 = 11;
    const GETVAL: u32 = 12;
    const GETALL: u32 = 13;
    const GETNCNT: u32 = 14;
    const GETZCNT: u32 = 15;
    const SETVAL: u32 = 16;
    const SETALL: u32 = 17;
    const SEM_STAT: u32 = 18;
    const SEM_INFO: u32 = 19;
    const SEM_STAT_ANY: u32 = 20;
    /// Bytes of a value in the array of GETALL and SETALL.
    const VALUE_BYTES: usize = 2;
    let (id, number, command, address) = (call.i32(0), call.i32(1), call.u32(2), call.usize(3));
    if id < 0 {
        return Err(Errno::INVAL);
    }
    let pid = call.thread().process.pid;
    match command {
        IPC_INFO | SEM_INFO => {
            use semaphores::{MAX_COUNT, MAX_OPERATIONS, MAX_SEMAPHORES, MAX_SETS};
            /// Of `struct sem_undo` in Linux, which IPC_INFO shows.
            const UNDO_BYTES: i32 = 20;
            let (sets, all) = semaphores::totals();
            let (used, most) =
                if command == SEM_INFO { (int(sets), int(all)) } else { (UNDO_BYTES, MAX_VALUE.into()) };
            // semmap, semmni; semmns, semmnu; semmsl, semopm; semume, semusz; semvmx, semaem.
            let words = [
                pair(int(MAX_SEMAPHORES), int(MAX_SETS)),
                pair(int(MAX_SEMAPHORES), int(MAX_SEMAPHORES)),
                pair(int(MAX_COUNT), int(MAX_OPERATIONS)),
                pair(int(MAX_OPERATIONS), used),
                pair(MAX_VALUE.into(), most),
            ];
            user::write_words(address, &words)?;
            Ok(highest::<Set>())
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let (found, set) =
                if command == IPC_STAT { (id, object::get::<Set>(id)?) } else { object::at::<Set>(id)? };
            let words = set.with(false, |state| {
                if command != SEM_STAT_ANY {
                    object::check(&state.permission, READ)?;
                }
                let permission = permission_words(&state.permission, found);
                let count = state.semaphores.count() as u64;
                Ok(semid::words(permission, state.operated_s, state.changed_s, count))
            })?;
            user::write_words(address, &words)?;
            Ok(if command == IPC_STAT { 0 } else { found as usize })
        }
        IPC_SET => {
            let (uid, gid, mode) = read_permission(address)?;
            object::get::<Set>(id)?.with(false, |state| {
                object::check_control(&state.permission)?;
                state.permission.change(uid, gid, mode);
                state.changed_s = object::now_s();
                Ok(0)
            })
        }
        IPC_RMID => semaphores::remove(id).map(|()| 0),
        GETALL => {
            let set = object::get::<Set>(id)?;
            let mut values = filled(0, set.with(false, |state| Ok(state.semaphores.count()))? * VALUE_BYTES)?;
            set.with(false, |state| {
                object::check(&state.permission, READ)?;
                for (number, bytes) in values.as_chunks_mut::<VALUE_BYTES>().0.iter_mut().enumerate() {
                    *bytes = state.semaphores.value(number).unwrap_or(0).to_le_bytes();
                }
                Ok(())
            })?;
            user::write(address, &values)?;
            Ok(0)
        }
        SETALL => {
            let set = object::get::<Set>(id)?;
            let count = set.with(false, |state| {
                object::check(&state.permission, WRITE)?;
                Ok(state.semaphores.count())
            })?;
            let mut bytes = filled(0, count * VALUE_BYTES)?;
            user::read(&mut bytes, address)?;
            let values = bytes.as_chunks::<VALUE_BYTES>().0;
            if values.iter().any(|&value| u16::from_le_bytes(value) > MAX_VALUE) {
                return Err(Errno::RANGE);
            }
            set.with(true, |state| {
                for (number, &value) in values.iter().enumerate() {
                    state.semaphores.set(number, u16::from_le_bytes(value).into(), pid);
                }
                state.changed_s = object::now_s();
                Ok(0)
            })
        }
        SETVAL => object::get::<Set>(id)?.with(true, |state| {
            let index = number as usize;
            if state.semaphores.value(index).is_none() {
                return Err(Errno::INVAL);
            }
            object::check(&state.permission, WRITE)?;
            if !state.semaphores.set(index, call.i32(3), pid) {
                return Err(Errno::RANGE);
            }
            state.changed_s = object::now_s();
            Ok(0)
        }),
        GETVAL | GETPID | GETNCNT | GETZCNT => object::get::<Set>(id)?.with(false, |state| {
            object::check(&state.permission, READ)?;
            let (index, semaphores) = (number as usize, &state.semaphores);
            let value = semaphores.value(index).ok_or(Errno::INVAL)?;
            Ok(match command {
                GETVAL => value.into(),
                GETPID => pid_space::seen(semaphores.pid(index).unwrap_or(0)) as usize,
                GETNCNT => semaphores.waiters(index, Waits::ForMore),
                _ => semaphores.waiters(index, Waits::ForZero),
            })
        }),
        _ => Err(Errno::INVAL),
    }
}

/// msgget(2).
pub fn msgget(call: &Call) -> SysResult {
    messages::find_or_make(call.i32(0), call.u32(1))
}

/// Bytes of the type before the text of a message.
const TYPE_BYTES: usize = 8;

/// msgsnd(2).
pub fn msgsnd(call: &Call) -> SysResult {
    let (id, address, len, flags) = (call.i32(0), call.usize(1), call.usize(2), call.u32(3));
    let [kind] = user::read_words(address)?.map(|word: u64| word as i64);
    if id < 0 || len > messages::MAX_MESSAGE || kind < 1 {
        return Err(Errno::INVAL);
    }
    let mut bytes = filled(0, len)?;
    user::read(&mut bytes, address.wrapping_add(TYPE_BYTES))?;
    object::get::<MessageQueue>(id)?.send(Message { kind, bytes }, flags & IPC_NOWAIT != 0)?;
    Ok(0)
}

/// msgrcv(2).
pub fn msgrcv(call: &Call) -> SysResult {
    const MSG_NOERROR: u32 = 0o10_000;
    const MSG_EXCEPT: u32 = 0o20_000;
    const MSG_COPY: u32 = 0o40_000;
    let (id, address, room, kind, flags) =
        (call.i32(0), call.usize(1), call.usize(2), call.i64(3), call.u32(4));
    if id < 0 || room as isize <= -1 {
        return Err(Errno::INVAL);
    }
    let (no_wait, copies) = (flags & IPC_NOWAIT != 0, flags & MSG_COPY != 0);
    if copies && (flags & MSG_EXCEPT != 0 || !no_wait) {
        return Err(Errno::INVAL);
    }
    let selection = match kind {
        // A position that is none finds no message.
        _ if copies => Selection::At(usize::try_from(kind).unwrap_or(usize::MAX)),
        0 => Selection::First,
        ..0 => Selection::UpTo(kind.checked_neg().unwrap_or(i64::MAX)),
        _ if flags & MSG_EXCEPT != 0 => Selection::Except(kind),
        _ => Selection::Of(kind),
    };
    let wanted = Receive { selection, room, cuts: flags & MSG_NOERROR != 0, copies, no_wait };
    let message = object::get::<MessageQueue>(id)?.receive(&wanted)?;
    let text = &message.bytes[..message.bytes.len().min(room)];
    user::write_u64(address, message.kind as u64)?;
    user::write(address.wrapping_add(TYPE_BYTES), text)?;
    Ok(text.len())
}

/// msgctl(2).
pub fn msgctl(call: &Call) -> SysResult {
    const MSG_STAT: u32 = 11;
    const MSG_INFO: u32 = 12;
    const MSG_STAT_ANY: u32 = 13;
    /// Of `struct msqid64_ds`: msg_qbytes.
    const CAPACITY_OFFSET: usize = 88;
    let (id, command, address) = (call.i32(0), call.u32(1), call.usize(2));
    if id < 0 {
        return Err(Errno::INVAL);
    }
    match command {
        IPC_INFO | MSG_INFO => {
            use messages::{DEFAULT_CAPACITY, MAX_MESSAGE, MAX_QUEUES};
            /// Kilobytes of all queues, and sizes of an implementation that is gone (linux/msg.h).
            const POOL: i32 = 512_000;
            const SEGMENT: i32 = 16;
            const SEGMENTS: u64 = 0xffff;
            let (queues, count, bytes) = messages::totals();
            let (pool, map, headers) = match command {
                MSG_INFO => (int(queues), int(count), int(bytes)),
                _ => (POOL, int(DEFAULT_CAPACITY), int(DEFAULT_CAPACITY)),
            };
            // msgpool, msgmap; msgmax, msgmnb; msgmni, msgssz; msgtql, msgseg.
            let words = [
                pair(pool, map),
                pair(int(MAX_MESSAGE), int(DEFAULT_CAPACITY)),
                pair(int(MAX_QUEUES), SEGMENT),
                pair(headers, 0) | SEGMENTS << 32,
            ];
            user::write_words(address, &words)?;
            Ok(highest::<MessageQueue>())
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let (found, queue) = match command {
                IPC_STAT => (id, object::get::<MessageQueue>(id)?),
                _ => object::at::<MessageQueue>(id)?,
            };
            let words = queue.with(|state| {
                if command != MSG_STAT_ANY {
                    object::check(&state.permission, READ)?;
                }
                let [a, b, c, d, e, f] = permission_words(&state.permission, found);
                let (sent, received, changed) = (state.sent_s, state.received_s, state.changed_s);
                let (bytes, count) = (state.queue.bytes() as u64, state.queue.len() as u64);
                let capacity = state.queue.capacity() as u64;
                let users = pair(pid_space::seen(state.sender), pid_space::seen(state.receiver));
                Ok([a, b, c, d, e, f, sent, received, changed, bytes, count, capacity, users, 0, 0])
            })?;
            user::write_words(address, &words)?;
            Ok(if command == IPC_STAT { 0 } else { found as usize })
        }
        IPC_SET => {
            let (uid, gid, mode) = read_permission(address)?;
            let capacity = user::read_u64(address.wrapping_add(CAPACITY_OFFSET))?;
            let queue = object::get::<MessageQueue>(id)?;
            queue.with(|state| {
                object::check_control(&state.permission)?;
                if capacity > messages::DEFAULT_CAPACITY as u64 {
                    check_capability(capability::SYS_RESOURCE)?;
                }
                state.permission.change(uid, gid, mode);
                state.queue.set_capacity(usize::try_from(capacity).unwrap_or(usize::MAX));
                state.changed_s = object::now_s();
                Ok(())
            })?;
            queue.grown();
            Ok(0)
        }
        IPC_RMID => messages::remove(id).map(|()| 0),
        _ => Err(Errno::INVAL),
    }
}
