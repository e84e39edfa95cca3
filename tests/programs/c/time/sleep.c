// nanosleep and clock_nanosleep sleep no shorter than asked, absolute and relative, and many at once in order.
#include "t.h"
#include <pthread.h>

static int order[6];
static volatile int n;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static void *sleeper(void *argument) {
    long i = (long)argument;
    sleep_ms(60 * ((i * 5) % 6 + 1));
    pthread_mutex_lock(&m);
    order[n++] = (int)((i * 5) % 6);
    pthread_mutex_unlock(&m);
    return NULL;
}

int main(void) {
    struct timespec t = {0, 30000000};
    long start = now_ms();
    SHOW(nanosleep(&t, NULL));
    CHECK(now_ms() - start >= 29);
    start = now_ms();
    SHOW(usleep(15000));
    CHECK(now_ms() - start >= 14);
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
    for (long i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, sleeper, (void *)i);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 6; i++)
        printf("%d ", order[i]);
    putchar('\n');
    DONE();
}
