// clock_settime(2) and settimeofday(2) set what the vDSO reads as well as what system calls read; the time since boot goes on.
// Not run on Linux, whose clock it would set.
// linux: no
// machines: all
// stdout-has: all clocks agree
#include "t.h"
#include <sys/time.h>

static long seconds(clockid_t clock) {
    struct timespec now;
    NEED(clock_gettime(clock, &now) == 0);
    return now.tv_sec;
}

static long seconds_by_call(clockid_t clock) {
    struct timespec now;
    NEED(syscall(SYS_clock_gettime, clock, &now) == 0);
    return now.tv_sec;
}

// Whether a reading is `wanted` or as much later as this program may take.
static bool is_about(long read, long wanted) { return read >= wanted && read < wanted + 200; }

static void check(long wanted, long since_boot) {
    CHECK(is_about(seconds(CLOCK_REALTIME), wanted));
    CHECK(is_about(seconds(CLOCK_REALTIME_COARSE), wanted));
    CHECK(is_about(seconds_by_call(CLOCK_REALTIME), wanted));
    CHECK(is_about(time(NULL), wanted));
    struct timeval now;
    CHECK(gettimeofday(&now, NULL) == 0 && is_about(now.tv_sec, wanted));
    CHECK(is_about(seconds(CLOCK_MONOTONIC), since_boot));
    CHECK(is_about(seconds(CLOCK_BOOTTIME), since_boot));
}

int main(void) {
    long since_boot = seconds(CLOCK_MONOTONIC);
    struct timespec later = {seconds(CLOCK_REALTIME) + 100000, 5};
    NEED(clock_settime(CLOCK_REALTIME, &later) == 0);
    check(later.tv_sec, since_boot);
    struct timeval earlier = {1000000000, 0};
    NEED(settimeofday(&earlier, NULL) == 0);
    check(earlier.tv_sec, since_boot);
    struct timespec wrong = {1, 1000000000}, first = {0, 0}, plain = {1000000000, 0};
    CHECK(clock_settime(CLOCK_REALTIME, &wrong) == -1 && errno == EINVAL);
    // Boot would lie before 1970.
    CHECK(clock_settime(CLOCK_REALTIME, &first) == -1 && errno == EINVAL);
    CHECK(clock_settime(CLOCK_MONOTONIC, &plain) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_clock_settime, CLOCK_REALTIME, NULL) == -1 && errno == EFAULT);
    NEED(setresuid(1000, 1000, 1000) == 0);
    CHECK(clock_settime(CLOCK_REALTIME, &plain) == -1 && errno == EPERM);
    CHECK(settimeofday(&earlier, NULL) == -1 && errno == EPERM);
    check(earlier.tv_sec, since_boot);
    puts("all clocks agree");
    DONE();
}
