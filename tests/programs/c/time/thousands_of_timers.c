// Thousands of timers, each due again at once, leave the program the time to go on, and to remove them.
// machines: all
#include "t.h"
#include <sys/timerfd.h>

enum { TIMERS = 10000, DESCRIPTORS = 800, CALLS = 20000 };

int main(void) {
    static timer_t timers[TIMERS];
    NEED(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec soon = {.it_interval = {0, 1}, .it_value = {0, 1}};
    int made = 0;
    while (made < TIMERS && timer_create(CLOCK_MONOTONIC, &event, &timers[made]) == 0)
        NEED(timer_settime(timers[made++], 0, &soon, NULL) == 0);
    // The user may have fewer places for signals (RLIMIT_SIGPENDING).
    NEED(made == TIMERS || errno == EAGAIN);
    for (int i = 0; i < DESCRIPTORS; i++) {
        int fd = timerfd_create(CLOCK_MONOTONIC, 0);
        NEED(fd >= 0 && timerfd_settime(fd, 0, &soon, NULL) == 0);
    }
    for (int i = 0; i < CALLS; i++)
        syscall(SYS_getppid);
    SHOW(usleep(1000));
    for (int i = 0; i < made; i++)
        NEED(timer_delete(timers[i]) == 0);
    DONE();
}
