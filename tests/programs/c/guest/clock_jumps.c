// Absolute times of the real-time clock move when it is set (clock_settime(2)): timers, sleeps and waits go off earlier or
// later, and TFD_TIMER_CANCEL_ON_SET ends the wait for a timer descriptor (timerfd_create(2)). Relative times stay.
// linux: no
// machines: all
// stdout-has: all done
#include "t.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

enum { HOUR = 3600 };

static struct timespec now(void) {
    struct timespec t;
    NEED(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return t;
}

static struct timespec in(long seconds) {
    struct timespec t = now();
    t.tv_sec += seconds;
    return t;
}

static void jump(long seconds) {
    struct timespec t = in(seconds);
    NEED(clock_settime(CLOCK_REALTIME, &t) == 0);
}

static int is_readable(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

static int timer_in(long seconds, long interval, int flags) {
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    struct itimerspec value = {.it_value = in(seconds), .it_interval = {interval, 0}};
    if (!(flags & TFD_TIMER_ABSTIME))
        value.it_value = (struct timespec){seconds, 0};
    NEED(fd >= 0 && timerfd_settime(fd, flags, &value, NULL) == 0);
    return fd;
}

static uint64_t expirations(int fd) {
    uint64_t count = 0;
    return read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

static volatile sig_atomic_t signals;
static void on_signal(int signal) { signals += signal == SIGUSR1; }

static void *sleep_by_the_clock(void *until) {
    CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, until, NULL) == 0);
    return NULL;
}

static void *sleep_relatively(void *time) {
    clock_nanosleep(CLOCK_REALTIME, 0, time, NULL);
    return NULL;
}

static void *wait_by_the_clock(void *until) {
    static int word;
    long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, until, NULL, ~0u);
    CHECK(result == -1 && errno == ETIMEDOUT);
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);

    // Timers that are an hour away go off when the clock is set an hour ahead; those with a relative time don't.
    int absolute = timer_in(HOUR, 0, TFD_TIMER_ABSTIME), relative = timer_in(HOUR, 0, 0);
    int periodic = timer_in(HOUR, HOUR / 2, TFD_TIMER_ABSTIME);
    timer_t id;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec value = {.it_value = in(HOUR)};
    NEED(timer_create(CLOCK_REALTIME, &event, &id) == 0 && timer_settime(id, TIMER_ABSTIME, &value, NULL) == 0);
    struct timespec until = in(HOUR), long_time = {HOUR, 0};
    pthread_t sleeper, waiter, other;
    NEED(pthread_create(&sleeper, NULL, sleep_by_the_clock, &until) == 0);
    NEED(pthread_create(&waiter, NULL, wait_by_the_clock, &until) == 0);
    NEED(pthread_create(&other, NULL, sleep_relatively, &long_time) == 0);
    CHECK(!is_readable(absolute) && !is_readable(relative) && !is_readable(periodic) && signals == 0);
    jump(HOUR + 1);
    WAIT_UNTIL(is_readable(absolute) && is_readable(periodic) && signals == 1);
    CHECK(expirations(absolute) == 1);
    // Half an hour apart, and the clock was set a second further.
    CHECK(expirations(periodic) == 1);
    CHECK(!is_readable(relative));
    NEED(pthread_join(sleeper, NULL) == 0 && pthread_join(waiter, NULL) == 0);
    CHECK(pthread_tryjoin_np(other, NULL) == EBUSY);
    // What is left of it follows the clock.
    NEED(timerfd_gettime(periodic, &value) == 0);
    CHECK(value.it_value.tv_sec < HOUR / 2 && value.it_value.tv_sec > HOUR / 2 - 600);
    jump(HOUR);
    WAIT_UNTIL(is_readable(periodic));
    CHECK(expirations(periodic) == 2);
    puts("ahead: done");

    // Set back, they are further away.
    int later = timer_in(2, 0, TFD_TIMER_ABSTIME);
    jump(-HOUR);
    NEED(timerfd_gettime(later, &value) == 0);
    CHECK(value.it_value.tv_sec > HOUR - 600 && value.it_value.tv_sec <= HOUR + 2);
    NEED(timerfd_gettime(relative, &value) == 0);
    CHECK(value.it_value.tv_sec <= HOUR && value.it_value.tv_sec > HOUR - 600);
    jump(HOUR + 3);
    WAIT_UNTIL(is_readable(later));
    puts("back: done");

    // A timer that is cancelled by a change of the clock: once, and only where it was asked for.
    int cancelled = timer_in(2 * HOUR, 0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
    int plain = timer_in(2 * HOUR, 0, TFD_TIMER_ABSTIME);
    int useless = timer_in(2 * HOUR, 0, TFD_TIMER_CANCEL_ON_SET);
    uint64_t count;
    CHECK(read(cancelled, &count, sizeof count) == -1 && errno == EAGAIN);
    jump(1);
    CHECK(is_readable(cancelled) && !is_readable(plain) && !is_readable(useless));
    SHOW(read(cancelled, &count, sizeof count));
    SHOW(read(cancelled, &count, sizeof count));
    // It is still set, and says so when it is set anew, if the clock was set meanwhile.
    NEED(timerfd_gettime(cancelled, &value) == 0);
    CHECK(value.it_value.tv_sec > HOUR);
    jump(-1);
    value = (struct itimerspec){.it_value = in(2 * HOUR)};
    SHOW(timerfd_settime(cancelled, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &value, NULL));
    SHOW(timerfd_settime(cancelled, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &value, NULL));
    SHOW(is_readable(cancelled));
    jump(2 * HOUR + 1);
    WAIT_UNTIL(is_readable(plain));
    // The change counts, not the expiry that it brought.
    SHOW(read(cancelled, &count, sizeof count));
    SHOW(read(cancelled, &count, sizeof count));
    if (!t_failures)
        puts("all done");
    DONE();
}
