//! System V's shared memory, semaphores and message queues (sysvipc(7)), between processes.
use coracle_kernel_tests::errno::{EAGAIN, EIDRM, EINVAL, ENOENT, ENOMSG};
use coracle_kernel_tests::threads::{Thread, fork, spawn, until_asleep, wait};
use coracle_kernel_tests::{abi, explore, load_u32, run, store_u32, sys};

/// Values of linux/ipc.h, linux/sem.h and linux/shm.h.
const IPC_PRIVATE: usize = 0;
const IPC_CREAT: usize = 0o1000;
const IPC_NOWAIT: u16 = 0o4000;
const IPC_RMID: usize = 0;
const SEM_UNDO: u16 = 0x1000;
const GETVAL: usize = 12;
const SETVAL: usize = 16;

/// semop(2) with one operation.
fn operate(set: usize, change: i16, flags: u16) -> Result<usize, u32> {
    let bytes = [0_u16.to_le_bytes(), change.to_le_bytes(), flags.to_le_bytes()].concat();
    sys::call(abi::__NR_semop, &[set, sys::put(&bytes), 1])
}

fn value(set: usize) -> usize {
    sys::call(abi::__NR_semctl, &[set, 0, GETVAL]).expect("a semaphore has a value")
}

#[test]
fn memory_is_shared_until_the_last_process_leaves_it() {
    run(|| {
        let segment =
            sys::call(abi::__NR_shmget, &[IPC_PRIVATE, 4096, IPC_CREAT | 0o600]).expect("a segment is made");
        let at = sys::call(abi::__NR_shmat, &[segment, 0, 0]).expect("it is attached");
        store_u32(at, 1);
        let child = fork(move || {
            assert_eq!(load_u32(at), 1);
            store_u32(at, 2);
            sys::call(abi::__NR_shmdt, &[at]).expect("it is detached");
        });
        assert_eq!(wait(child.expect("a child is made")), Ok(0));
        assert_eq!(load_u32(at), 2);
        sys::call(abi::__NR_shmctl, &[segment, IPC_RMID, 0]).expect("it is removed");
        // It is there as long as it is attached.
        assert_eq!(load_u32(at), 2);
        sys::call(abi::__NR_shmdt, &[at]).expect("it is detached");
        assert_eq!(sys::call(abi::__NR_shmdt, &[at]), Err(EINVAL));
        assert_eq!(sys::call(abi::__NR_shmat, &[segment, 0, 0]), Err(EINVAL));
    });
}

#[test]
fn semaphores_wake_and_are_undone() {
    run(|| {
        let set = sys::call(abi::__NR_semget, &[IPC_PRIVATE, 1, 0o600]).expect("a semaphore is made");
        sys::call(abi::__NR_semctl, &[set, 0, SETVAL, 1]).expect("it is set");
        assert_eq!(operate(set, -2, IPC_NOWAIT), Err(EAGAIN));
        let child = fork(move || assert_eq!(operate(set, -1, SEM_UNDO), Ok(0)));
        assert_eq!(wait(child.expect("a child is made")), Ok(0));
        assert_eq!(value(set), 1);
        let tid = sys::call(abi::__NR_gettid, &[]).expect("a thread has an id") as i32;
        let waker = spawn(move || {
            until_asleep(tid);
            assert_eq!(operate(set, 1, 0), Ok(0));
        });
        assert_eq!(operate(set, -2, 0), Ok(0));
        waker.join();
        let remover = spawn(move || {
            until_asleep(tid);
            sys::call(abi::__NR_semctl, &[set, 0, IPC_RMID]).expect("it is removed");
        });
        assert_eq!(operate(set, -1, 0), Err(EIDRM));
        remover.join();
    });
}

#[test]
fn messages_are_taken_by_their_types() {
    run(|| {
        const KEY: usize = 0x1234;
        assert_eq!(sys::call(abi::__NR_msgget, &[KEY, 0]), Err(ENOENT));
        let queue = sys::call(abi::__NR_msgget, &[KEY, IPC_CREAT | 0o600]).expect("a queue is made");
        let send = |kind: u64, text: &[u8]| {
            let message = sys::put(&[&kind.to_le_bytes()[..], text].concat());
            sys::call(abi::__NR_msgsnd, &[queue, message, text.len(), 0])
        };
        let room = sys::memory(64);
        let receive = |kind: i64| {
            let got = sys::call(abi::__NR_msgrcv, &[queue, room, 32, kind as usize, IPC_NOWAIT.into()])?;
            Ok((load_u32(room), sys::bytes(room + 8, got)))
        };
        assert_eq!(send(0, b"no type"), Err(EINVAL));
        for (kind, text) in [(3, b"three"), (1, b"first"), (2, b"other"), (1, b"again")] {
            assert_eq!(send(kind, text), Ok(0));
        }
        assert_eq!(receive(1), Ok((1, b"first".to_vec())));
        assert_eq!(receive(-2), Ok((1, b"again".to_vec())));
        assert_eq!(receive(0), Ok((3, b"three".to_vec())));
        assert_eq!(receive(5), Err(ENOMSG));
        sys::call(abi::__NR_msgctl, &[queue, IPC_RMID, 0]).expect("it is removed");
        assert_eq!(receive(0), Err(EINVAL));
    });
}

#[test]
fn a_semaphore_that_is_raised_wakes_all_that_it_is_enough_for() {
    explore(|| {
        let set = sys::call(abi::__NR_semget, &[IPC_PRIVATE, 1, 0o600]).expect("a semaphore is made");
        let waiters: Vec<_> =
            (1..3).map(|count| spawn(move || assert_eq!(operate(set, -count, 0), Ok(0)))).collect();
        assert_eq!(operate(set, 1, 0), Ok(0));
        assert_eq!(operate(set, 2, 0), Ok(0));
        waiters.into_iter().for_each(Thread::join);
        assert_eq!(value(set), 0);
        sys::call(abi::__NR_semctl, &[set, 0, IPC_RMID]).expect("it is removed");
    });
}
