// alarm, setitimer and timer_create send their signals in time, once or again and again, with the value asked for.
#include "t.h"
#include <sys/time.h>

static volatile int count, value, overruns;
static void handler(int signal) { (void)signal, count++; }
static void with_info(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    count++;
    value = info->si_value.sival_int;
    CHECK(info->si_code == SI_TIMER);
}

int main(void) {
    signal(SIGALRM, handler);
    SHOW(alarm(100));
    SHOW(alarm(0) >= 99);
    struct itimerval it = {.it_value = {0, 20000}}, old;
    long start = now_ms();
    // Blocked until it is waited for: it may come at once on a busy machine.
    sigset_t alarms, before;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    NEED(sigprocmask(SIG_BLOCK, &alarms, &before) == 0);
    SHOW(setitimer(ITIMER_REAL, &it, NULL));
    SHOW(sigsuspend(&before));
    NEED(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(now_ms() - start >= 19);
    it.it_interval.tv_usec = 5000;
    count = 0;
    SHOW(setitimer(ITIMER_REAL, &it, NULL));
    while (count < 5)
        pause();
    it = (struct itimerval){0};
    SHOW(setitimer(ITIMER_REAL, &it, &old));
    SHOW(old.it_interval.tv_usec);
    SHOW(getitimer(ITIMER_REAL, &old));
    SHOW(old.it_value.tv_sec + old.it_value.tv_usec);
    struct sigaction action = {.sa_sigaction = with_info, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 321};
    timer_t timer;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec spec = {.it_interval = {0, 5000000}, .it_value = {0, 5000000}}, was;
    count = 0;
    SHOW(timer_settime(timer, 0, &spec, NULL));
    while (count < 4)
        pause();
    SHOW(value);
    SHOW(timer_gettime(timer, &was));
    SHOW(was.it_interval.tv_nsec);
    SHOW(timer_getoverrun(timer) >= 0);
    SHOW(timer_delete(timer));
    SHOW(timer_delete(timer));
    // Without a signal, the timer just runs.
    event.sigev_notify = SIGEV_NONE;
    SHOW(timer_create(CLOCK_REALTIME, &event, &timer));
    SHOW(timer_settime(timer, 0, &spec, NULL));
    SHOW(timer_create(999, &event, &timer));
    // Of one that goes off once, nothing is left when its time has come, by either kind of clock (timer_gettime(2)).
    struct itimerspec once = {.it_value = {0, 1}}; // has passed
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_PROCESS_CPUTIME_ID};
    for (int i = 0; i < 3; i++) {
        timer_t polled;
        NEED(timer_create(clocks[i], &event, &polled) == 0);
        NEED(timer_settime(polled, TIMER_ABSTIME, &once, NULL) == 0);
        NEED(timer_gettime(polled, &was) == 0);
        SHOW(was.it_value.tv_sec + was.it_value.tv_nsec);
        // A disarmed one has no interval.
        NEED(timer_settime(polled, 0, &(struct itimerspec){.it_interval = {5, 0}}, NULL) == 0);
        NEED(timer_gettime(polled, &was) == 0);
        // Linux before 6.13 shows that of a clock of CPU time.
        SHOW(i < 2 ? was.it_interval.tv_sec : 0);
        SHOW(was.it_value.tv_sec + was.it_value.tv_nsec);
        NEED(timer_delete(polled) == 0);
    }
    // Nor has ITIMER_REAL, other than the timers of CPU time (setitimer(2)).
    static const int kinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    for (int i = 0; i < 3; i++) {
        it = (struct itimerval){.it_interval = {10, 0}};
        SHOW(setitimer(kinds[i], &it, NULL));
        SHOW(getitimer(kinds[i], &old));
        SHOW(old.it_interval.tv_sec);
        SHOW(old.it_value.tv_sec + old.it_value.tv_usec);
        it.it_value.tv_sec = 1000;
        SHOW(setitimer(kinds[i], &it, &old));
        SHOW(old.it_interval.tv_sec);
        SHOW(setitimer(kinds[i], &(struct itimerval){0}, &old));
        SHOW(old.it_interval.tv_sec);
        SHOW(getitimer(kinds[i], &old));
        SHOW(old.it_interval.tv_sec);
        SHOW(old.it_value.tv_sec + old.it_value.tv_usec);
    }
    spec.it_value.tv_nsec = -1;
    SHOW(timer_settime(timer, 0, &spec, NULL));
    SHOW(setitimer(99, &it, NULL));
    // CPU time: only running counts.
    signal(SIGPROF, handler);
    count = 0;
    it = (struct itimerval){.it_value = {0, 20000}};
    SHOW(setitimer(ITIMER_PROF, &it, NULL));
    while (!count) {
    }
    puts("profiled");
    DONE();
}
