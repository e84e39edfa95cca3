// Timers whose period is shorter than the work of an expiry: the program goes on, and what it missed is counted. One signal
// of a timer waits at a time.
// machines: all
#include "t.h"
#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>

static volatile long signals;
static void handler(int signal) { (void)signal, signals++; }

// Some work that the timers interrupt.
static long work(long steps) {
    volatile long done = 0;
    while (done < steps)
        done++;
    return done;
}

static struct itimerspec every(long ns) { return (struct itimerspec){{0, ns}, {0, ns}}; }

static void descriptor(long ns) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec spec = every(ns), left;
    printf("descriptor, %ld ns\n", ns);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    SHOW(timerfd_settime(fd, 0, &spec, NULL));
    SHOW(work(200000));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SHOW(poll(&p, 1, -1));
    uint64_t first = 0, second = 0;
    SHOW(read(fd, &first, 8));
    SHOW(work(200000));
    poll(&p, 1, -1);
    SHOW(read(fd, &second, 8));
    clock_gettime(CLOCK_MONOTONIC, &after);
    uint64_t elapsed = (after.tv_sec - before.tv_sec) * 1000000000ull + after.tv_nsec - before.tv_nsec;
    // No expiry is counted twice, and none is invented.
    SHOW(first > 1 && second > 1);
    SHOW((first + second) * ns <= elapsed);
    SHOW(timerfd_gettime(fd, &left));
    SHOW(left.it_interval.tv_nsec == ns && left.it_value.tv_sec == 0 && left.it_value.tv_nsec <= ns);
    close(fd);
}

static void posix(int how, long ns) {
    struct sigevent event = {.sigev_notify = how, .sigev_signo = SIGUSR1};
    timer_t timer;
    printf("timer_create, %s, %ld ns\n", how == SIGEV_NONE ? "no signal" : "signal", ns);
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec spec = every(ns), left;
    signals = 0;
    SHOW(timer_settime(timer, 0, &spec, NULL));
    SHOW(work(3000000));
    SHOW(timer_gettime(timer, &left));
    SHOW(left.it_interval.tv_nsec == ns && left.it_value.tv_sec == 0 && left.it_value.tv_nsec <= ns);
    SHOW(timer_delete(timer));
    SHOW(signals > 0);
}

static void one_signal_waits(void) {
    puts("blocked");
    sigset_t set, alarm;
    sigemptyset(&set);
    sigemptyset(&alarm);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigprocmask(SIG_BLOCK, &alarm, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 7};
    timer_t timer;
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec spec = every(10000), off = {0};
    struct itimerval interval = {{0, 10}, {0, 10}}, no_interval = {0};
    NEED(timer_settime(timer, 0, &spec, NULL) == 0);
    NEED(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    sleep_ms(20);
    siginfo_t info;
    SHOW(sigwaitinfo(&alarm, &info) == SIGALRM);
    SHOW(setitimer(ITIMER_REAL, &no_interval, NULL));
    SHOW(sigwaitinfo(&set, &info) == SIGRTMIN);
    SHOW(info.si_code == SI_TIMER);
    SHOW(info.si_value.sival_int);
    // 2000 expiries at least, of which one was told.
    SHOW(info.si_overrun >= 1999);
    SHOW(timer_getoverrun(timer) == info.si_overrun);
    // The next one comes, and counts from there.
    SHOW(sigwaitinfo(&set, &info) == SIGRTMIN);
    SHOW(info.si_overrun >= 0);
    SHOW(timer_settime(timer, 0, &off, NULL));
    struct timespec zero = {0};
    int more = 0;
    while (sigtimedwait(&set, &info, &zero) > 0)
        more++;
    SHOW(more <= 2);
    // Once: no overrun.
    spec.it_interval.tv_nsec = 0;
    SHOW(timer_settime(timer, 0, &spec, NULL));
    SHOW(sigwaitinfo(&set, &info) == SIGRTMIN);
    SHOW(info.si_overrun);
    SHOW(timer_getoverrun(timer));
    SHOW(timer_delete(timer));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

// A timer goes on when its signal was ignored for a while.
static void ignored(void) {
    puts("ignored");
    signal(SIGUSR1, SIG_IGN);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec spec = every(100000);
    SHOW(timer_settime(timer, 0, &spec, NULL));
    SHOW(work(200000));
    signals = 0;
    signal(SIGUSR1, handler);
    while (signals == 0)
        work(1000);
    SHOW(timer_delete(timer));
}

int main(void) {
    signal(SIGUSR1, handler);
    signal(SIGALRM, handler);
    descriptor(1);
    descriptor(100);
    descriptor(1000);
    posix(SIGEV_NONE, 1);
    posix(SIGEV_SIGNAL, 20000);
    one_signal_waits();
    ignored();
    puts("setitimer");
    struct itimerval interval = {{0, 100}, {0, 100}}, off = {0};
    signals = 0;
    SHOW(setitimer(ITIMER_REAL, &interval, NULL));
    SHOW(work(3000000));
    while (signals < 3)
        work(1000);
    SHOW(setitimer(ITIMER_REAL, &off, NULL));
    DONE();
}
