//! What /proc shows of System V IPC (proc(5)): /proc/sysvipc and limits.
use super::messages::MessageQueue;
use super::object::Object;
use super::segments::Segment;
use super::semaphores::{self, Set};
use crate::space::Handle;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::task::pid_space;
use coracle_fallible::{NoMemory, Text};
use coracle_fs::synthetic::Piece;
use coracle_sysv::Permission;

/// /proc/sys/kernel/sem: semaphores of a set, semaphores, operations of a call, sets; at most.
pub fn semaphore_limits(text: &mut Text) -> Result<(), NoMemory> {
    use semaphores::{MAX_COUNT, MAX_OPERATIONS, MAX_SEMAPHORES, MAX_SETS};
    writeln!(text, "{MAX_COUNT}\t{MAX_SEMAPHORES}\t{MAX_OPERATIONS}\t{MAX_SETS}")
}

/// The line of one object after the other; before the first, the header. A position is one more than an object's place.
fn table<T: Object>(
    from: u64,
    text: &mut Text,
    header: &str,
    line: impl FnOnce(i32, &T, &mut Text) -> Result<(), NoMemory>,
) -> Piece {
    if from == 0 {
        text.push(header.as_bytes())?;
    }
    let next: Option<(usize, i32, Arc<T>)> = {
        let handle = Handle::own();
        let all = T::all(handle.space()?).lock();
        all.next_from(from as usize).map(|(index, id, object)| (index, id, object.clone()))
    };
    let Some((index, id, object)) = next else { return Ok(None) };
    line(id, &object, text)?;
    Ok::<_, Errno>(Some(index as u64 + 1))
}

/// /proc/sysvipc/msg.
pub fn messages(from: u64, text: &mut Text) -> Piece {
    const HEADER: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";
    table(from, text, HEADER, |id, queue: &MessageQueue, text| {
        let line = queue.with(|state| {
            let Permission { key, uid, gid, creator_uid, creator_gid, mode } = state.permission;
            let (bytes, count) = (state.queue.bytes(), state.queue.len());
            let [sender, receiver] = [state.sender, state.receiver].map(pid_space::seen);
            let (sent, received, changed) = (state.sent_s, state.received_s, state.changed_s);
            Ok(writeln!(
                text,
                "{key:10} {id:10}  {mode:4o}  {bytes:10} {count:10} {sender:5} {receiver:5} {uid:5} {gid:5} {creator_uid:5} \
                 {creator_gid:5} {sent:10} {received:10} {changed:10}"
            ))
        });
        line.unwrap_or(Ok(()))
    })
}

/// /proc/sysvipc/sem.
pub fn semaphores(from: u64, text: &mut Text) -> Piece {
    const HEADER: &str =
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
    table(from, text, HEADER, |id, set: &Set, text| {
        let line = set.with(false, |state| {
            let Permission { key, uid, gid, creator_uid, creator_gid, mode } = state.permission;
            let (count, operated, changed) = (state.semaphores.count(), state.operated_s, state.changed_s);
            Ok(writeln!(
                text,
                "{key:10} {id:10}  {mode:4o} {count:10} {uid:5} {gid:5} {creator_uid:5} {creator_gid:5} {operated:10} \
                 {changed:10}"
            ))
        });
        line.unwrap_or(Ok(()))
    })
}

/// /proc/sysvipc/shm.
pub fn segments(from: u64, text: &mut Text) -> Piece {
    const HEADER: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";
    table(from, text, HEADER, |id, segment: &Segment, text| {
        let (size, resident) = (segment.size, segment.resident_pages() * PAGE_SIZE as u64);
        segment.with(|state| {
            let Permission { key, uid, gid, creator_uid, creator_gid, mode } = state.permission;
            let [creator, last] = [state.creator, state.last_user].map(pid_space::seen);
            let attached = state.attached();
            let (attached_s, detached_s, changed_s) = (state.attached_s, state.detached_s, state.changed_s);
            writeln!(
                text,
                "{key:10} {id:10}  {mode:4o} {size:21} {creator:5} {last:5}  {attached:5} {uid:5} {gid:5} {creator_uid:5} \
                 {creator_gid:5} {attached_s:10} {detached_s:10} {changed_s:10} {resident:21} {:21}",
                0
            )
        })
    })
}
