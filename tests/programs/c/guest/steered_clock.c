// adjtimex(2) steers the clocks (the rules of Linux' kernel/time/ntp.c): the real-time and the monotonic one run faster or slower,
// alike by system call and by the vDSO, and the monotonic one never goes back; CLOCK_MONOTONIC_RAW is left alone.
// Not run on Linux, whose clock it would steer.
// linux: no
// machines: all
// stdout-has: all done
#include "t.h"
#include <sys/timerfd.h>
#include <sys/timex.h>

enum { MS = 1000000 };
static const long long SECOND = 1000 * MS;

static long long ns(struct timespec t) { return t.tv_sec * SECOND + t.tv_nsec; }
static long long by_vdso(clockid_t clock) {
    struct timespec t;
    NEED(clock_gettime(clock, &t) == 0);
    return ns(t);
}
static long long by_call(clockid_t clock) {
    struct timespec t;
    NEED(syscall(SYS_clock_gettime, clock, &t) == 0);
    return ns(t);
}

static struct timex ask(struct timex t, int state) {
    CHECK(adjtimex(&t) == state);
    return t;
}

// How far the real-time clock is ahead of one that runs by itself.
static long long ahead(void) { return by_vdso(CLOCK_REALTIME) - by_vdso(CLOCK_MONOTONIC_RAW); }

static void both_ways_agree(void) {
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME};
    for (int i = 0; i < 4; i++) {
        long long before = by_call(clocks[i]), between = by_vdso(clocks[i]), after = by_call(clocks[i]);
        CHECK(before <= between && between <= after);
    }
}

// Both clocks at one moment: they are read anew if other work of the host came between.
static void both(long long *raw, long long *mono) {
    do {
        *raw = by_vdso(CLOCK_MONOTONIC_RAW);
        *mono = by_vdso(CLOCK_MONOTONIC);
    } while (by_vdso(CLOCK_MONOTONIC_RAW) - *raw > MS / 10);
}

// What the monotonic clock counts, in parts per million of what the raw one does.
static long rate(void) {
    long long raw, mono, raw_later, mono_later;
    both(&raw, &mono);
    do {
        both_ways_agree();
        both(&raw_later, &mono_later);
    } while (raw_later < raw + 300 * MS);
    return (mono_later - mono) * 1000000 / (raw_later - raw);
}

static bool is_near(long read, long wanted, long by) {
    if (read < wanted - by || read > wanted + by)
        printf("%ld is not near %ld\n", read, wanted);
    return read >= wanted - by && read <= wanted + by;
}

static void ticks(void) {
    struct timex t = ask((struct timex){.modes = 0}, TIME_ERROR);
    CHECK(t.status == STA_UNSYNC && t.maxerror == 16000000 && t.esterror == 16000000);
    CHECK(t.tick == 10000 && t.constant == 2 && t.freq == 0 && t.offset == 0 && t.tai == 0);
    struct timex wrong[] = {
        {.modes = ADJ_TICK, .tick = 8999},
        {.modes = ADJ_TICK, .tick = 11001},
        {.modes = ADJ_SETOFFSET, .time = {0, 1000000}},
        {.modes = ADJ_SETOFFSET | ADJ_NANO, .time = {0, -1}},
        // Boot would lie before 1970, or be further away than Linux counts.
        {.modes = ADJ_SETOFFSET, .time = {-100000000000, 0}},
        {.modes = ADJ_SETOFFSET, .time = {100000000000, 0}},
        {.modes = ADJ_FREQUENCY, .freq = 1L << 60},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(adjtimex(&wrong[i]) == -1 && errno == EINVAL);
    CHECK(is_near(rate(), 1000000, 2000));
    ask((struct timex){.modes = ADJ_TICK, .tick = 11000}, TIME_ERROR);
    CHECK(is_near(rate(), 1100000, 2000));
    ask((struct timex){.modes = ADJ_TICK, .tick = 9000}, TIME_ERROR);
    CHECK(is_near(rate(), 900000, 2000));
    long long last = 0;
    for (int i = 0; i < 4000; i++) {
        ask((struct timex){.modes = ADJ_TICK, .tick = i % 2 ? 9000 : 11000}, TIME_ERROR);
        long long now = i % 3 ? by_vdso(CLOCK_MONOTONIC) : by_call(CLOCK_MONOTONIC);
        CHECK(now >= last);
        last = now;
    }
    ask((struct timex){.modes = ADJ_TICK, .tick = 10000}, TIME_ERROR);
    t = ask((struct timex){.modes = ADJ_FREQUENCY, .freq = -300 << 16}, TIME_ERROR);
    CHECK(t.freq == -300 << 16);
    t = ask((struct timex){.modes = ADJ_FREQUENCY, .freq = 600 << 16}, TIME_ERROR);
    CHECK(t.freq == 500 << 16);
    ask((struct timex){.modes = ADJ_FREQUENCY}, TIME_ERROR);
    puts("ticks: done");
}

static void steps(void) {
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    struct itimerspec far = {.it_value = {4000000000, 0}};
    NEED(fd >= 0 && timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL) == 0);
    long long before = ahead(), mono = by_vdso(CLOCK_MONOTONIC);
    ask((struct timex){.modes = ADJ_SETOFFSET, .time = {-2, 500000}}, TIME_ERROR);
    CHECK(is_near(ahead() - before, -1500 * (long)MS, MS));
    CHECK(by_vdso(CLOCK_MONOTONIC) >= mono);
    uint64_t count;
    CHECK(read(fd, &count, sizeof count) == -1 && errno == ECANCELED);
    ask((struct timex){.modes = ADJ_SETOFFSET | ADJ_NANO, .time = {100, 1}}, TIME_ERROR);
    CHECK(is_near(ahead() - before, 98500 * (long)MS, MS));
    struct timex t = ask((struct timex){.modes = ADJ_TAI, .constant = 37}, TIME_ERROR);
    CHECK(t.tai == 37);
    long long real = by_call(CLOCK_REALTIME), tai = by_vdso(CLOCK_TAI);
    CHECK(tai >= real + 37 * SECOND && tai < real + 38 * SECOND);
    puts("steps: done");
}

static void phases(void) {
    // The clock counts as synchronised; 40 ms are made up for by a quarter of what is left in each second.
    long long before = ahead();
    unsigned modes = ADJ_OFFSET | ADJ_STATUS | ADJ_NANO | ADJ_TIMECONST | ADJ_MAXERROR | ADJ_ESTERROR;
    struct timex t = {.modes = modes, .status = STA_PLL | STA_FREQHOLD, .offset = 40 * MS};
    t = ask(t, TIME_OK);
    CHECK(t.status == (STA_PLL | STA_FREQHOLD | STA_NANO) && t.offset == 40 * MS && t.maxerror == 0);
    WAIT_UNTIL((t = ask((struct timex){.modes = 0}, TIME_OK)).offset < 25 * MS);
    both_ways_agree();
    CHECK(t.offset > 0 && ahead() > before + 5 * MS && t.maxerror > 0);
    // adjtime(3) is apart from it.
    ask((struct timex){.modes = ADJ_OFFSET | ADJ_STATUS, .status = STA_PLL | STA_FREQHOLD, .offset = 0}, TIME_OK);
    struct timeval left, delta = {0, 900};
    CHECK(adjtime(&delta, &left) == 0 && left.tv_sec == 0 && left.tv_usec == 0);
    before = ahead();
    WAIT_UNTIL((t = ask((struct timex){.modes = ADJ_OFFSET_SS_READ}, TIME_OK)).offset == 0);
    WAIT_UNTIL(ahead() > before + 700000);
    ask((struct timex){.modes = ADJ_MICRO}, TIME_OK);
    puts("phases: done");
}

static void leap(void) {
    struct timespec end_of_day = {20000 * 86400L - 2, 500 * MS};
    NEED(clock_settime(CLOCK_REALTIME, &end_of_day) == 0);
    struct timex t = {.modes = ADJ_STATUS | ADJ_MAXERROR, .status = STA_INS};
    int state, last = adjtimex(&t);
    CHECK(last == TIME_OK);
    long long raw = by_vdso(CLOCK_MONOTONIC_RAW), real = by_vdso(CLOCK_REALTIME);
    while (last != TIME_WAIT) {
        struct timespec pause = {0, 20 * MS};
        nanosleep(&pause, NULL);
        t = (struct timex){.modes = 0};
        if ((state = adjtimex(&t)) != last)
            printf("state %d, TAI %d, second %ld\n", state, t.tai, t.time.tv_sec % 86400);
        last = state;
    }
    raw = by_vdso(CLOCK_MONOTONIC_RAW) - raw, real = by_vdso(CLOCK_REALTIME) - real;
    CHECK(is_near(raw - real, 1000 * (long)MS, 5 * MS));
    t = (struct timex){.modes = ADJ_STATUS};
    adjtimex(&t);
    WAIT_UNTIL(adjtimex(&(struct timex){.modes = 0}) == TIME_OK);
    puts("leap: done");
}

int main(void) {
    ticks();
    steps();
    phases();
    leap();
    if (!t_failures)
        puts("all done");
    DONE();
}
