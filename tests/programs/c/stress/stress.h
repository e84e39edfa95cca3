// What the stress programs share: threads that take random steps for a while. What they do is a matter of chance; that the
// program and the machine live on is what is shown.
#ifndef STRESS_H
#define STRESS_H
#include "t.h"
#include <pthread.h>

enum { STRESS_THREADS = 4, STRESS_MS = 1500 };

static volatile bool stress_over;
static __thread uint64_t stress_state;

// The next random number of the thread (xorshift64).
static uint64_t any(void) {
    stress_state ^= stress_state << 13;
    stress_state ^= stress_state >> 7;
    stress_state ^= stress_state << 17;
    return stress_state;
}

// One below `n`.
static unsigned below(unsigned n) { return (unsigned)(any() % n); }

static void stress_step(unsigned thread);

static void *stress_thread(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    stress_state = 88172645463325252u + thread * 7919u + (uint64_t)now_ms();
    while (!stress_over)
        stress_step(thread);
    return NULL;
}

// Runs the threads, and says so when all have ended.
static void stress(void) {
    pthread_t threads[STRESS_THREADS];
    for (uintptr_t i = 0; i < STRESS_THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, stress_thread, (void *)i) == 0);
    long end = now_ms() + STRESS_MS;
    while (now_ms() < end)
        sleep_ms(10);
    stress_over = true;
    for (int i = 0; i < STRESS_THREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    puts("alive");
}
#endif
