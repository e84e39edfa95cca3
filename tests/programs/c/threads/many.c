// Hundreds of threads alive at once, thousands one after the other, detached ones too; their stacks come back.
// memory: 256M
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int ready, go;
static atomic_int ended;
static void *waits(void *unused) {
    (void)unused;
    pthread_mutex_lock(&m);
    ready++;
    while (!go)
        pthread_cond_wait(&c, &m);
    pthread_mutex_unlock(&m);
    return NULL;
}
static void *ends(void *argument) {
    atomic_fetch_add(&ended, 1);
    return argument;
}

int main(void) {
    enum { MANY = 300 };
    static pthread_t t[MANY];
    for (int i = 0; i < MANY; i++)
        NEED(pthread_create(&t[i], NULL, waits, NULL) == 0);
    for (int n = 0; n < MANY; sleep_ms(1)) {
        pthread_mutex_lock(&m);
        n = ready;
        pthread_mutex_unlock(&m);
    }
    pthread_mutex_lock(&m);
    go = 1;
    pthread_cond_broadcast(&c);
    pthread_mutex_unlock(&m);
    for (int i = 0; i < MANY; i++)
        pthread_join(t[i], NULL);
    SHOW(ready);
    long sum = 0;
    for (long i = 0; i < 2000; i++) {
        void *result;
        NEED(pthread_create(&t[0], NULL, ends, (void *)i) == 0);
        pthread_join(t[0], &result);
        sum += (long)result;
    }
    SHOW(sum);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 500; i++) {
        NEED(pthread_create(&t[0], &attr, ends, NULL) == 0);
        while (atomic_load(&ended) < 2000 + i + 1)
            sched_yield();
    }
    SHOW(ended);
    DONE();
}
