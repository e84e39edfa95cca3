// Threads that wait for a condition and are moved to a lock with priority inheritance, or given it, by FUTEX_CMP_REQUEUE_PI of
// futex(2). It is handed over, times out, is interrupted, is refused, and its owner ends.
// machines: all
#include "futex.h"

static struct words {
    uint32_t condition, lock, other;
} *words;
static int flag; // FUTEX_PRIVATE_FLAG, or 0

static int pi(int operation, uint32_t *word) { return futex(word, operation | flag, 0, NULL, NULL, 0); }
static int wait_requeue(unsigned expected, struct timespec *timeout) {
    return futex(&words->condition, FUTEX_WAIT_REQUEUE_PI | flag, expected, timeout, &words->lock, 0);
}
static int requeue(int wake, int move, uint32_t *to, unsigned expected) {
    return futex(&words->condition, FUTEX_CMP_REQUEUE_PI | flag, wake, (void *)(long)move, to, expected);
}

// A thread that waits, and what came of it.
struct waiter {
    pthread_t thread;
    atomic_int tid, result, may_unlock;
    bool plain, locks_first;
    struct timespec *timeout;
};

static void *wait_for_condition(void *argument) {
    struct waiter *me = argument;
    if (me->locks_first)
        CHECK(pi(FUTEX_LOCK_PI, &words->lock) == 0);
    me->tid = gettid();
    int outcome = me->plain ? futex(&words->condition, FUTEX_WAIT | flag, 0, NULL, NULL, 0) : wait_requeue(0, me->timeout);
    me->result = outcome == 0 ? 0 : errno;
    if (outcome == 0 && !me->plain) {
        CHECK((words->lock & FUTEX_TID_MASK) == (uint32_t)me->tid);
        WAIT_UNTIL(me->may_unlock);
    }
    if ((words->lock & FUTEX_TID_MASK) == (uint32_t)me->tid)
        CHECK(pi(FUTEX_UNLOCK_PI, &words->lock) == 0);
    return NULL;
}

static void start(struct waiter *waiter) {
    NEED(pthread_create(&waiter->thread, NULL, wait_for_condition, waiter) == 0);
    WAIT_UNTIL(waiter->tid != 0);
    if (!waiter->timeout)
        wait_until_asleep(waiter->tid);
    else // It may be over before it is seen.
        WAIT_UNTIL(strchr("SX", thread_state(waiter->tid)));
}

static const char *end(struct waiter *waiter) {
    waiter->may_unlock = 1;
    NEED(pthread_join(waiter->thread, NULL) == 0);
    return waiter->result ? t_errno(waiter->result) : "locked";
}

static atomic_int handled;
static void handler(int signal) { (void)signal, handled++; }

static void interrupt(struct waiter *waiter) {
    int before = handled;
    NEED(pthread_kill(waiter->thread, SIGUSR1) == 0);
    WAIT_UNTIL(handled > before);
}

// Has a thread that waits for the condition find that it is none any more.
static const char *stop(struct waiter *waiter) {
    words->condition = 1;
    interrupt(waiter);
    const char *how = end(waiter);
    words->condition = 0;
    return how;
}

static void *lock_requeue_and_end(void *waiter) {
    (void)waiter;
    CHECK(pi(FUTEX_LOCK_PI, &words->lock) == 0);
    CHECK(requeue(1, 0, &words->lock, 0) == 1);
    return NULL;
}

static void all(void) {
    // What is refused.
    struct timespec past = {0, 1};
    SHOW(wait_requeue(1, NULL));
    SHOW(wait_requeue(0, &past));
    SHOW(futex(&words->condition, FUTEX_WAIT_REQUEUE_PI | FUTEX_CLOCK_REALTIME | flag, 0, &past, &words->lock, 0));
    SHOW(futex(&words->condition, FUTEX_WAIT_REQUEUE_PI | flag, 0, NULL, &words->condition, 0));
    SHOW(futex(&words->condition, FUTEX_WAIT_REQUEUE_PI | flag, 0, NULL, (char *)&words->lock + 1, 0));
    SHOW(requeue(0, 0, &words->lock, 0));
    SHOW(requeue(2, 0, &words->lock, 0));
    SHOW(requeue(1, -1, &words->lock, 0));
    SHOW(requeue(1, 0, &words->condition, 0));
    SHOW(requeue(1, 0, &words->lock, 1));
    SHOW(requeue(1, 0, &words->lock, 0));

    // The lock is free: the waiter has it.
    struct waiter one = {0};
    start(&one);
    SHOW(requeue(1, 0, &words->lock, 0));
    SHOW(words->lock == (uint32_t)one.tid);
    SHOW(pi(FUTEX_UNLOCK_PI, &words->lock));
    puts(end(&one));
    SHOW(words->lock);

    // Some have it one after the other.
    struct waiter several[3] = {{0}, {0}, {0}};
    for (int i = 0; i < 3; i++) {
        several[i].may_unlock = 1;
        start(&several[i]);
    }
    SHOW(pi(FUTEX_LOCK_PI, &words->lock));
    SHOW(requeue(1, 1, &words->lock, 0));
    SHOW((words->lock & FUTEX_WAITERS) != 0);
    SHOW(requeue(1, INT_MAX, &words->lock, 0));
    SHOW(requeue(1, INT_MAX, &words->lock, 0));
    SHOW(pi(FUTEX_UNLOCK_PI, &words->lock));
    for (int i = 0; i < 3; i++)
        puts(end(&several[i]));
    SHOW(words->lock & FUTEX_TID_MASK);
    words->lock = 0;
    // The first has the lock, and others follow.
    struct waiter more[3] = {{0}, {0}, {0}};
    for (int i = 0; i < 3; i++)
        start(&more[i]);
    SHOW(requeue(1, INT_MAX, &words->lock, 0));
    SHOW((words->lock & FUTEX_WAITERS) != 0);
    for (int i = 0; i < 3; i++)
        more[i].may_unlock = 1;
    for (int i = 0; i < 3; i++)
        puts(end(&more[i]));
    words->lock = 0;

    // Time runs out, before or after the move.
    struct timespec soon;
    clock_gettime(CLOCK_MONOTONIC, &soon);
    soon.tv_sec += 1;
    struct waiter timed = {.timeout = &soon};
    SHOW(pi(FUTEX_LOCK_PI, &words->lock));
    start(&timed);
    CHECK(requeue(1, 0, &words->lock, 0) >= 0);
    puts(end(&timed));
    SHOW(pi(FUTEX_UNLOCK_PI, &words->lock));
    SHOW(words->lock);

    // A signal has the call start again before the move, not after it.
    struct waiter interrupted = {0};
    SHOW(pi(FUTEX_LOCK_PI, &words->lock));
    start(&interrupted);
    interrupt(&interrupted);
    wait_until_asleep(interrupted.tid);
    SHOW(requeue(1, 0, &words->lock, 0));
    interrupt(&interrupted);
    puts(end(&interrupted));
    SHOW(pi(FUTEX_UNLOCK_PI, &words->lock));
    SHOW(words->lock);

    // Operations that don't belong together.
    struct waiter plain = {.plain = true};
    start(&plain);
    SHOW(requeue(1, 0, &words->lock, 0));
    SHOW(futex(&words->condition, FUTEX_WAKE | flag, 1, NULL, NULL, 0));
    puts(strcmp(end(&plain), "locked") ? "error" : "woken");
    struct waiter mismatched = {0};
    start(&mismatched);
    SHOW(futex(&words->condition, FUTEX_WAKE | flag, 1, NULL, NULL, 0));
    SHOW(futex(&words->condition, FUTEX_CMP_REQUEUE | flag, 0, (void *)1L, &words->other, 0));
    SHOW(requeue(1, 0, &words->other, 0));
    words->lock = 0x3ffffff0;
    SHOW(requeue(1, 0, &words->lock, 0));
    words->lock = 0;
    puts(stop(&mismatched));
    struct waiter owner = {.locks_first = true};
    start(&owner);
    SHOW(requeue(1, 0, &words->lock, 0));
    puts(stop(&owner));
    SHOW(words->lock);

    // The owner ends with the lock.
    struct waiter heir = {0};
    pthread_t ends;
    start(&heir);
    NEED(pthread_create(&ends, NULL, lock_requeue_and_end, NULL) == 0 && pthread_join(ends, NULL) == 0);
    WAIT_UNTIL((words->lock & FUTEX_TID_MASK) == (uint32_t)heir.tid);
    SHOW((words->lock & FUTEX_OWNER_DIED) != 0);
    puts(end(&heir));
    words->lock = 0;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(words != MAP_FAILED);
    all();
    flag = FUTEX_PRIVATE_FLAG;
    all();
    DONE();
}
