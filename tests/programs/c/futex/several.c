// futex_waitv(2): a thread waits for several words, and learns at which it was woken; what is refused.
// machines: all
#include "../t.h"
#include <pthread.h>
#include <sys/wait.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

struct word {
    uint64_t value, address;
    uint32_t flags, reserved;
};

enum { SIZE_32 = 2, PRIVATE = 128 };

static int waitv(void *words, unsigned count, unsigned flags, struct timespec *timeout, int clock) {
    return syscall(SYS_futex_waitv, words, count, flags, timeout, clock);
}

static uint32_t places[4];
static volatile pid_t waiter;

static void *wait_for_any(void *unused) {
    struct word words[4];
    for (int i = 0; i < 4; i++)
        words[i] = (struct word){0, (uintptr_t)&places[i], SIZE_32 | PRIVATE, 0};
    waiter = gettid();
    return (void *)(long)(waitv(words, 4, 0, NULL, 0) + (unused != NULL));
}

int main(void) {
    struct word one = {1, (uintptr_t)&places[0], SIZE_32, 0}, many[2] = {{0, (uintptr_t)&places[0], SIZE_32, 0}, one};
    struct timespec past = {0, 1}, wrong = {0, -1};
    SHOW(waitv(&one, 1, 0, NULL, 0));
    SHOW(waitv(many, 2, 0, NULL, 0));
    one.value = 0;
    SHOW(waitv(&one, 1, 0, &past, CLOCK_MONOTONIC));
    SHOW(waitv(&one, 1, 0, &past, CLOCK_REALTIME));
    SHOW(waitv(&one, 1, 0, &past, CLOCK_BOOTTIME));
    SHOW(waitv(&one, 1, 0, &wrong, CLOCK_MONOTONIC));
    SHOW(waitv(&one, 0, 0, NULL, 0));
    SHOW(waitv(&one, 129, 0, NULL, 0));
    SHOW(waitv(&one, 1, 1, NULL, 0));
    SHOW(waitv(NULL, 1, 0, NULL, 0));
    one.flags = 0x40;
    SHOW(waitv(&one, 1, 0, NULL, 0));
    one.flags = SIZE_32, one.reserved = 1;
    SHOW(waitv(&one, 1, 0, NULL, 0));
    one.reserved = 0, one.address = 8;
    SHOW(waitv(&one, 1, 0, NULL, 0));
    one.address = (uintptr_t)&places[0] + 1;
    SHOW(waitv(&one, 1, 0, NULL, 0));
    for (int at = 0; at < 4; at++) {
        pthread_t thread;
        void *result;
        waiter = 0;
        CHECK(pthread_create(&thread, NULL, wait_for_any, NULL) == 0);
        while (!waiter)
            sched_yield();
        // Until it has listed itself, the wake-up finds no thread.
        while (syscall(SYS_futex, &places[at], 129, 1, NULL, NULL, 0) != 1)
            sched_yield();
        CHECK(pthread_join(thread, &result) == 0);
        SHOW((long)result);
    }
    DONE();
}
