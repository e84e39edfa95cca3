// Futex time-outs: relative for FUTEX_WAIT, absolute for FUTEX_WAIT_BITSET by either clock; EINTR by a signal.
#include "futex.h"

static void handler(int signal) { (void)signal; }

int main(void) {
    unsigned word = 0;
    struct timespec t = {0, 20000000};
    long start = now_ms();
    SHOW(futex(&word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    CHECK(now_ms() - start >= 19);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += 0;
    start = now_ms();
    t.tv_nsec += 20000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    SHOW(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY));
    CHECK(now_ms() - start >= 19);
    SHOW(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY));
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec -= 10;
    SHOW(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY));
    t.tv_nsec = 1000000000;
    SHOW(futex(&word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    t = (struct timespec){-1, 0};
    SHOW(futex(&word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerspec once = {.it_value = {0, 30000000}};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, NULL, &timer);
    timer_settime(timer, 0, &once, NULL);
    t = (struct timespec){5, 0};
    SHOW(futex(&word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    DONE();
}
