// FUTEX_WAKE wakes the threads that wait as the call begins: one that is woken and waits again is not woken by the same call.
// machines: all
// memory: 192M
#include "futex.h"

enum { THREADS = 100, ROUNDS = 5, STACK = 128 << 10 };

static unsigned word;
static atomic_int woken;
static atomic_long ids[THREADS];

static void *waiter(void *argument) {
    ids[(uintptr_t)argument] = syscall(SYS_gettid);
    while (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0)
        atomic_fetch_add(&woken, 1);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    NEED(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], &attributes, waiter, (void *)i) == 0);
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++) {
            WAIT_UNTIL(ids[i] != 0);
            wait_until_asleep(ids[i]);
        }
        SHOW(futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
        WAIT_UNTIL(woken >= round * THREADS);
    }
    for (int i = 0; i < THREADS; i++)
        wait_until_asleep(ids[i]);
    SHOW(woken == ROUNDS * THREADS);
    // They find another value when they are woken now, and end.
    word = 1;
    SHOW(futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    DONE();
}
