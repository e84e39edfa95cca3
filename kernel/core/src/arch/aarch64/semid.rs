//! `struct semid64_ds` of aarch64 (Linux's include/uapi/asm-generic/sembuf.h).

/// Its words, from those of its permissions, the times of the last operation and change, and the number of semaphores.
pub fn words([a, b, c, d, e, f]: [u64; 6], operated_s: u64, changed_s: u64, count: u64) -> [u64; 11] {
    [a, b, c, d, e, f, operated_s, changed_s, count, 0, 0]
}
