// Mutexes: normal, recursive, error-checking; trylock and timedlock; many threads.
#include "t.h"
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;
static void *adder(void *unused) {
    (void)unused;
    for (int i = 0; i < 10000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void *tries(void *m) {
    SHOW_ERROR(pthread_mutex_trylock(m));
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    SHOW_ERROR(pthread_mutex_timedlock(m, &t));
    return NULL;
}

int main(void) {
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, adder, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    SHOW(counter);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t recursive, checked;
    pthread_mutex_init(&recursive, &attr);
    SHOW_ERROR(pthread_mutex_lock(&recursive));
    SHOW_ERROR(pthread_mutex_lock(&recursive));
    pthread_create(&t[0], NULL, tries, &recursive);
    pthread_join(t[0], NULL);
    SHOW_ERROR(pthread_mutex_unlock(&recursive));
    SHOW_ERROR(pthread_mutex_unlock(&recursive));
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attr);
    SHOW_ERROR(pthread_mutex_unlock(&checked));
    SHOW_ERROR(pthread_mutex_lock(&checked));
    SHOW_ERROR(pthread_mutex_lock(&checked));
    DONE();
}
