// Clocks: they advance, monotonic ones never go back, on any thread; wall-clock time is of this century; resolutions.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

static _Atomic long latest;
static atomic_int backwards;
static void *watch(void *unused) {
    (void)unused;
    for (int i = 0; i < 50000; i++) {
        long before = atomic_load(&latest);
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        long now = t.tv_sec * 1000000000 + t.tv_nsec;
        if (now < before)
            backwards++;
        atomic_store(&latest, now);
    }
    return NULL;
}

int main(void) {
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                          CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};
    for (int i = 0; i < 8; i++) {
        struct timespec a, b, r;
        CHECK(clock_gettime(clocks[i], &a) == 0 && clock_getres(clocks[i], &r) == 0);
        CHECK(a.tv_nsec >= 0 && a.tv_nsec < 1000000000);
        CHECK(r.tv_sec == 0 && r.tv_nsec >= 1 && r.tv_nsec <= 10000000);
        for (volatile int k = 0; k < 1000000; k++) {
        }
        sleep_ms(10);
        clock_gettime(clocks[i], &b);
        CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec > a.tv_nsec));
    }
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    CHECK(real.tv_sec > 1700000000 && real.tv_sec < 4000000000);
    CHECK(labs(tv.tv_sec - real.tv_sec) <= 1 && labs(time(NULL) - real.tv_sec) <= 1);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, watch, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    SHOW(backwards);
    SHOW(clock_gettime(999, &real));
    SHOW(syscall(SYS_clock_gettime, CLOCK_REALTIME, 8));
    struct timespec mono, cpu;
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    clockid_t id;
    SHOW(clock_getcpuclockid(0, &id));
    SHOW(clock_gettime(id, &cpu));
    SHOW(pthread_getcpuclockid(pthread_self(), &id));
    SHOW(clock_gettime(id, &cpu));
    DONE();
}
