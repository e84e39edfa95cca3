// Which clocks have timers and sleeps, and which only tell the time.
#include "t.h"
#include <sys/timerfd.h>

static void try(const char *name, clockid_t clock) {
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct timespec zero = {0};
    timer_t timer;
    printf("%s\n", name);
    SHOW(timer_create(clock, &event, &timer));
    SHOW_ERROR(clock_nanosleep(clock, TIMER_ABSTIME, &zero, NULL));
    SHOW(timerfd_create(clock, 0) >= 0 ? 0 : -1);
}

int main(void) {
    try("CLOCK_REALTIME", CLOCK_REALTIME);
    try("CLOCK_MONOTONIC", CLOCK_MONOTONIC);
    try("CLOCK_PROCESS_CPUTIME_ID", CLOCK_PROCESS_CPUTIME_ID);
    try("CLOCK_THREAD_CPUTIME_ID", CLOCK_THREAD_CPUTIME_ID);
    try("CLOCK_MONOTONIC_RAW", CLOCK_MONOTONIC_RAW);
    try("CLOCK_REALTIME_COARSE", CLOCK_REALTIME_COARSE);
    try("CLOCK_MONOTONIC_COARSE", CLOCK_MONOTONIC_COARSE);
    try("CLOCK_BOOTTIME", CLOCK_BOOTTIME);
    try("CLOCK_TAI", CLOCK_TAI);
    try("none", 99);
    DONE();
}
