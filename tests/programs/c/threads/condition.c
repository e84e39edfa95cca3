// Condition variables: a bounded queue with two producers and two consumers, broadcast, timed waits.
#include "t.h"
#include <pthread.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static int queue[8], head, count, produced;
static long sum;
enum { TOTAL = 4000 };

static void *producer(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&m);
        while (count == 8)
            pthread_cond_wait(&not_full, &m);
        if (produced == TOTAL) {
            pthread_cond_broadcast(&not_empty);
            pthread_cond_broadcast(&not_full);
            pthread_mutex_unlock(&m);
            return NULL;
        }
        queue[(head + count++) % 8] = ++produced;
        pthread_cond_signal(&not_empty);
        pthread_mutex_unlock(&m);
    }
}
static void *consumer(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&m);
        while (count == 0 && produced < TOTAL)
            pthread_cond_wait(&not_empty, &m);
        if (count == 0) {
            pthread_mutex_unlock(&m);
            return NULL;
        }
        sum += queue[head];
        head = (head + 1) % 8;
        count--;
        pthread_cond_signal(&not_full);
        pthread_mutex_unlock(&m);
    }
}

int main(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, i % 2 ? producer : consumer, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(sum);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 20000000;
    if (limit.tv_nsec >= 1000000000)
        limit.tv_sec++, limit.tv_nsec -= 1000000000;
    long start = now_ms();
    pthread_mutex_lock(&m);
    SHOW_ERROR(pthread_cond_timedwait(&not_empty, &m, &limit));
    CHECK(now_ms() - start >= 18);
    SHOW_ERROR(pthread_mutex_unlock(&m));
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    SHOW_ERROR(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    pthread_cond_t c;
    pthread_cond_init(&c, &attr);
    pthread_mutex_lock(&m);
    clock_gettime(CLOCK_MONOTONIC, &limit);
    SHOW_ERROR(pthread_cond_timedwait(&c, &m, &limit));
    DONE();
}
