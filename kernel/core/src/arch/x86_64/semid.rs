//! `struct semid64_ds` of x86-64 (Linux's arch/x86/include/uapi/asm/sembuf.h): words lie behind the times, for more bits of them.

/// Its words, from those of its permissions, the times of the last operation and change, and the number of semaphores.
pub fn words([a, b, c, d, e, f]: [u64; 6], operated_s: u64, changed_s: u64, count: u64) -> [u64; 13] {
    [a, b, c, d, e, f, operated_s, 0, changed_s, 0, count, 0, 0]
}
