// A timer's signal that waits, or is ignored, as Linux has it since 6.13: timer_settime(2) takes back one that was sent before; one that
// was ignored comes when there is a handler again, with all expiries that were missed. CPU-time timers count overruns until delivery.
// machines: all
// linux: no
// stdout-has: set anew: EAGAIN
// stdout-has: already due: delivered, EAGAIN
// stdout-has: once, ignored: EAGAIN
// stdout-has: of a thread that ended: EAGAIN
// stdout-has: all overruns counted
#include "t.h"
#include <pthread.h>

static const int SIGNAL = 40;
#define INTERVAL_NS 2000000L

static int waits(void) {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGNAL);
}

static const char *take(siginfo_t *info) {
    sigset_t set;
    struct timespec zero = {0};
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    return sigtimedwait(&set, info, &zero) == SIGNAL ? "delivered" : t_errno(errno);
}

static void block(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    NEED(sigprocmask(how, &set, NULL) == 0);
}

static timer_t timer_of(clockid_t clock, pid_t tid) {
    struct sigevent event = {.sigev_notify = tid ? SIGEV_THREAD_ID : SIGEV_SIGNAL, .sigev_signo = SIGNAL};
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
    event.sigev_notify_thread_id = tid;
    timer_t timer;
    NEED(timer_create(clock, &event, &timer) == 0);
    return timer;
}

static long clock_ns(clockid_t clock) {
    struct timespec t;
    NEED(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

// Sets it to go off at a time of its clock, and then every INTERVAL_NS, or never again.
static void set_at(timer_t timer, long at_ns, long interval_ns) {
    struct itimerspec spec = {.it_value = {at_ns / 1000000000, at_ns % 1000000000}, .it_interval = {0, interval_ns}};
    NEED(timer_settime(timer, TIMER_ABSTIME, &spec, NULL) == 0);
}

static void run_until(clockid_t clock, long ns) {
    while (clock_ns(clock) < ns) {
    }
}

// Takes the signal of a timer that went off first at `first`: its overrun is that of some time between before and after.
static void take_counted(clockid_t clock, long first) {
    siginfo_t info;
    long least = (clock_ns(clock) - first) / INTERVAL_NS;
    const char *how = take(&info);
    long most = (clock_ns(clock) - first) / INTERVAL_NS;
    CHECK(strcmp(how, "delivered") == 0);
    CHECK(info.si_overrun >= least);
    CHECK(info.si_overrun <= most);
}

static void handler(int signal) { (void)signal; }
static void ignore(void) { NEED(signal(SIGNAL, SIG_IGN) != SIG_ERR); }
static void handle(void) { NEED(signal(SIGNAL, handler) != SIG_ERR); }

static void *thread_with_timer(void *place) {
    timer_t timer = timer_of(CLOCK_MONOTONIC, gettid());
    set_at(timer, 1, INTERVAL_NS);
    WAIT_UNTIL(waits());
    ignore();
    *(timer_t *)place = timer;
    return NULL;
}

int main(void) {
    handle();
    block(SIG_BLOCK);

    timer_t timer = timer_of(CLOCK_MONOTONIC, 0);
    set_at(timer, 1, 0);
    WAIT_UNTIL(waits());
    struct itimerspec later = {.it_value = {1000, 0}};
    NEED(timer_settime(timer, 0, &later, NULL) == 0);
    printf("set anew: %s\n", take(NULL));

    // However often it is set, one signal waits.
    for (int i = 0; i < 3; i++) {
        set_at(timer, 1, 0);
        WAIT_UNTIL(waits());
    }
    siginfo_t info;
    printf("already due: %s", take(&info));
    CHECK(info.si_overrun == 0);
    printf(", %s\n", take(NULL));

    // Ignored while it waits, and when it is sent.
    for (int blocked = 0; blocked < 2; blocked++) {
        if (!blocked) {
            ignore();
            block(SIG_UNBLOCK);
        }
        long first = clock_ns(CLOCK_MONOTONIC);
        set_at(timer, first, INTERVAL_NS);
        if (blocked) {
            WAIT_UNTIL(waits());
            ignore();
        }
        run_until(CLOCK_MONOTONIC, first + 5 * INTERVAL_NS);
        block(SIG_BLOCK);
        handle();
        WAIT_UNTIL(waits());
        take_counted(CLOCK_MONOTONIC, first);
    }
    NEED(timer_settime(timer, 0, &later, NULL) == 0);
    take(NULL);
    set_at(timer, 1, 0);
    WAIT_UNTIL(waits());
    ignore();
    handle();
    printf("once, ignored: %s\n", take(NULL));
    NEED(timer_delete(timer) == 0);

    pthread_t thread;
    NEED(pthread_create(&thread, NULL, thread_with_timer, &timer) == 0);
    NEED(pthread_join(thread, NULL) == 0);
    handle();
    printf("of a thread that ended: %s\n", take(NULL));
    NEED(timer_delete(timer) == 0);

    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    for (int i = 0; i < 3; i++) {
        timer = timer_of(clocks[i], 0);
        long first = clock_ns(clocks[i]) + INTERVAL_NS;
        set_at(timer, first, INTERVAL_NS);
        while (!waits() || clock_ns(clocks[i]) < first + 10 * INTERVAL_NS) {
        }
        take_counted(clocks[i], first);
        NEED(timer_delete(timer) == 0);
    }
    if (!t_failures)
        puts("all overruns counted");
    DONE();
}
