// nanosleep and clock_nanosleep sleep no shorter than asked, absolute and relative, one thread and many at once.
#include "t.h"
#include <pthread.h>

static struct timespec start;

/* Sleeps until so many periods of 60 ms after the start: nothing is said of which of the threads runs first after a pause. */
static void *sleeper(void *argument) {
    struct timespec until = start, now;
    until.tv_nsec += 60000000L * (long)argument;
    until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
    long error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
    return (void *)error;
}

int main(void) {
    struct timespec t = {0, 30000000};
    long before = now_ms();
    SHOW(nanosleep(&t, NULL));
    CHECK(now_ms() - before >= 29);
    before = now_ms();
    SHOW(usleep(15000));
    CHECK(now_ms() - before >= 14);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 30000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    SHOW_ERROR(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > t.tv_sec || (now.tv_sec == t.tv_sec && now.tv_nsec >= t.tv_nsec));
    SHOW_ERROR(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
    clock_gettime(CLOCK_REALTIME, &t);
    SHOW_ERROR(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
    t = (struct timespec){0, 0};
    SHOW(nanosleep(&t, NULL));
    t.tv_nsec = 1000000000;
    SHOW(nanosleep(&t, NULL));
    t = (struct timespec){-1, 0};
    SHOW(nanosleep(&t, NULL));
    SHOW(nanosleep((void *)8, NULL));
    SHOW_ERROR(clock_nanosleep(999, 0, &t, NULL));
    pthread_t threads[6];
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, sleeper, (void *)(i * 5 % 6 + 1));
    for (int i = 0; i < 6; i++) {
        void *error;
        pthread_join(threads[i], &error);
        SHOW_ERROR((int)(long)error);
    }
    DONE();
}
