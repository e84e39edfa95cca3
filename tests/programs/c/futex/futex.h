// The futex system call, bare.
#include "t.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

__attribute__((unused)) static long futex(void *word, int op, unsigned value, const struct timespec *timeout, void *word2,
                                          unsigned value3) {
    return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}
