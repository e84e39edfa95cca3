// Locks with priority inheritance: locked, tried, handed over, timed out, refused; owners that end; robust mutexes (futex(2)).
// link: dynamic
// machines: all
#include "../t.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/wait.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static int pi(int operation, uint32_t *word, struct timespec *timeout) {
    return syscall(SYS_futex, word, operation, 0, timeout, NULL, 0);
}

static uint32_t *word;
static pid_t self;

static void wait_for_waiter(void) {
    while (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & FUTEX_WAITERS))
        sched_yield();
}

static void *locker(void *unused) {
    (void)unused;
    CHECK(pi(FUTEX_LOCK_PI, word, NULL) == 0);
    CHECK((*word & FUTEX_TID_MASK) == (uint32_t)gettid());
    CHECK(pi(FUTEX_UNLOCK_PI, word, NULL) == 0);
    return NULL;
}

static pthread_mutex_t mutex;
static volatile int counter;

static void *adder(void *unused) {
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void *leaver(void *unused) {
    CHECK(pthread_mutex_lock(&mutex) == 0);
    return unused;
}

int main(void) {
    word = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    self = gettid();

    SHOW(pi(FUTEX_LOCK_PI, word, NULL));
    SHOW(*word == (uint32_t)self);
    SHOW(pi(FUTEX_LOCK_PI, word, NULL));
    SHOW(pi(FUTEX_TRYLOCK_PI, word, NULL));
    SHOW(pi(FUTEX_UNLOCK_PI, word, NULL));
    SHOW(*word);
    SHOW(pi(FUTEX_UNLOCK_PI, word, NULL));
    SHOW(pi(FUTEX_TRYLOCK_PI, word, NULL));
    SHOW(pi(FUTEX_UNLOCK_PI, word, NULL));
    *word = 0x3ffffff0;
    SHOW(pi(FUTEX_LOCK_PI, word, NULL));
    *word = 0;
    SHOW(pi(FUTEX_LOCK_PI, (uint32_t *)((char *)word + 1), NULL));
    SHOW(pi(FUTEX_LOCK_PI, (uint32_t *)8, NULL));

    // Held by this process, from whose child's view it is held by another.
    CHECK(pi(FUTEX_LOCK_PI, word, NULL) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct timespec now;
        CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
        SHOW(pi(FUTEX_LOCK_PI, word, &now));
        CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
        SHOW(pi(FUTEX_LOCK_PI2, word, &now));
        SHOW(pi(FUTEX_TRYLOCK_PI, word, NULL));
        SHOW(pi(FUTEX_UNLOCK_PI, word, NULL));
        fflush(stdout);
        _exit(t_failures);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    // What waited has set the bit, so the unlock is the kernel's.
    CHECK(pi(FUTEX_UNLOCK_PI, word, NULL) == 0);
    SHOW(*word);

    // Handed over.
    CHECK(pi(FUTEX_LOCK_PI, word, NULL) == 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, locker, NULL) == 0);
    wait_for_waiter();
    CHECK(pi(FUTEX_UNLOCK_PI, word, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    SHOW(*word & FUTEX_TID_MASK);

    // An owner that ends without unlocking: the waiter has it, and learns of that.
    *word = 0;
    child = fork();
    if (child == 0) {
        CHECK(pi(FUTEX_LOCK_PI, word, NULL) == 0);
        wait_for_waiter();
        _exit(t_failures);
    }
    while (!__atomic_load_n(word, __ATOMIC_SEQ_CST))
        sched_yield();
    SHOW(pi(FUTEX_LOCK_PI, word, NULL));
    SHOW((*word & FUTEX_TID_MASK) == (uint32_t)self);
    SHOW((*word & FUTEX_OWNER_DIED) != 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(pi(FUTEX_UNLOCK_PI, word, NULL) == 0);

    // The C library's mutexes.
    pthread_mutexattr_t attributes;
    CHECK(pthread_mutexattr_init(&attributes) == 0);
    SHOW_ERROR(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    SHOW_ERROR(pthread_mutex_init(&mutex, &attributes));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, adder, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    SHOW(counter);
    SHOW_ERROR(pthread_mutex_destroy(&mutex));
    SHOW_ERROR(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    SHOW_ERROR(pthread_mutex_init(&mutex, &attributes));
    CHECK(pthread_create(&threads[0], NULL, leaver, NULL) == 0 && pthread_join(threads[0], NULL) == 0);
    SHOW_ERROR(pthread_mutex_lock(&mutex));
    SHOW_ERROR(pthread_mutex_consistent(&mutex));
    SHOW_ERROR(pthread_mutex_unlock(&mutex));
    SHOW_ERROR(pthread_mutex_lock(&mutex));
    SHOW_ERROR(pthread_mutex_unlock(&mutex));
    DONE();
}
