// The futex system call, bare.
#include "t.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

// Ids of threads that are about to wait; their number.
__attribute__((unused)) static atomic_long futex_waiters[16];
__attribute__((unused)) static atomic_int futex_waiter_count;

// A thread says that its next call is to wait.
__attribute__((unused)) static void about_to_wait(void) {
    long tid = syscall(SYS_gettid);
    futex_waiters[atomic_fetch_add(&futex_waiter_count, 1)] = tid;
}

// Waits until `count` threads have said so, and those of them that are still there sleep.
__attribute__((unused)) static void wait_until_all_wait(int count) {
    for (int i = 0; i < count; i++) {
        WAIT_UNTIL(futex_waiters[i] != 0);
        if (thread_state(futex_waiters[i]) != 'X')
            wait_until_asleep(futex_waiters[i]);
    }
}

__attribute__((unused)) static long futex(void *word, int op, unsigned value, const struct timespec *timeout, void *word2,
                                          unsigned value3) {
    return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}
