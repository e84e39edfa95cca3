// adjtimex(2) and clock_adjtime(2) without CAP_SYS_TIME: what may be read, and how wrong requests are refused.
#include "t.h"
#include <sys/timex.h>

static long try(unsigned modes) {
    struct timex t = {.modes = modes, .tick = 10000};
    return adjtimex(&t) < 0 ? -errno : 0;
}

static long on(clockid_t clock) {
    struct timex t = {.modes = 0};
    return syscall(SYS_clock_adjtime, clock, &t) < 0 ? -errno : 0;
}

int main(void) {
    NEED(setresuid(1000, 1000, 1000) == 0);
    struct timex t = {.modes = 0, .constant = 77};
    CHECK(adjtimex(&t) >= 0);
    SHOW(t.precision);
    SHOW(t.tolerance);
    SHOW(t.tick);
    SHOW(t.ppsfreq | t.jitter | t.shift | t.stabil | t.jitcnt | t.calcnt | t.errcnt | t.stbcnt);
    struct timespec now;
    NEED(clock_gettime(CLOCK_REALTIME, &now) == 0);
    CHECK(t.time.tv_sec <= now.tv_sec && t.time.tv_sec > now.tv_sec - 100);
    CHECK(t.constant >= 0 && t.constant <= 10);

    SHOW(try(ADJ_OFFSET_SS_READ));
    SHOW(try(ADJ_OFFSET_SINGLESHOT));
    unsigned modes[] = {ADJ_OFFSET, ADJ_FREQUENCY, ADJ_MAXERROR, ADJ_ESTERROR, ADJ_STATUS, ADJ_TIMECONST, ADJ_TAI,
                        ADJ_SETOFFSET, ADJ_MICRO, ADJ_NANO, ADJ_TICK, 0x40, 0x10000};
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++)
        SHOW(try(modes[i]));
    // adjtime(3)'s bit without that of the offset.
    SHOW(try(0x8000));
    SHOW(try(0x8002));
    SHOW(try(0xa000));
    SHOW(try(0xa001 | ADJ_SETOFFSET));

    for (int id = -10; id < 20; id++)
        SHOW(on(id));
    SHOW(syscall(SYS_adjtimex, 8) < 0 ? -errno : 0);
    SHOW(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, 8) < 0 ? -errno : 0);
    SHOW(syscall(SYS_clock_adjtime, 100, NULL) < 0 ? -errno : 0);
    struct timeval left;
    SHOW(adjtime(NULL, &left));
    SHOW(adjtime(&(struct timeval){1, 0}, NULL) < 0 ? -errno : 0);
    DONE();
}
