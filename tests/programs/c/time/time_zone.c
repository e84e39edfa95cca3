// The time zone of settimeofday(2): kept for gettimeofday(2), also where the vDSO has that; refused beyond 15 hours; the first one that is
// set without a time moves the clock.
// linux: no
// stdout-has: at first 0 0; the clock moved by 60 minutes; then -60 1, by the vDSO -60 1; the clock moved by 0 minutes; too far: EINVAL
#include "t.h"
#include <sys/auxv.h>
#include <sys/time.h>

static int get(struct timeval *t, struct timezone *zone) { return syscall(SYS_gettimeofday, t, zone); }
static int set(const struct timezone *zone) { return syscall(SYS_settimeofday, NULL, zone); }
static long minutes(void) {
    struct timeval t;
    NEED(get(&t, NULL) == 0);
    return t.tv_sec / 60;
}
static long moved_since(long before) { return (minutes() - before + 5) / 10 * 10; }

int main(void) {
    struct timezone zone = {7, 7};
    NEED(get(NULL, &zone) == 0);
    printf("at first %d %d", zone.tz_minuteswest, zone.tz_dsttime);
    long before = minutes();
    NEED(set(&(struct timezone){60, 0}) == 0);
    printf("; the clock moved by %ld minutes", moved_since(before));
    before = minutes();
    NEED(set(&(struct timezone){-60, 1}) == 0);
    struct timeval t = {0};
    NEED(get(NULL, &zone) == 0);
    printf("; then %d %d", zone.tz_minuteswest, zone.tz_dsttime);
    zone = (struct timezone){7, 7};
    NEED(gettimeofday(&t, &zone) == 0);
    // C libraries may answer that there is none.
    if (zone.tz_minuteswest == 0)
        NEED(get(&t, &zone) == 0);
    CHECK(t.tv_sec / 60 - minutes() >= -1);
    printf(", by the vDSO %d %d", zone.tz_minuteswest, zone.tz_dsttime);
    printf("; the clock moved by %ld minutes", moved_since(before));
    printf("; too far: %s\n", set(&(struct timezone){901, 0}) == -1 ? t_errno(errno) : "taken");
    DONE();
}
