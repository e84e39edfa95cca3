// POSIX semaphores: post and wait across threads, trywait, timedwait, value, named ones.
#include "t.h"
#include <pthread.h>
#include <semaphore.h>

static sem_t ping, pong;
static void *other(void *unused) {
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        sem_wait(&ping);
        sem_post(&pong);
    }
    return NULL;
}

int main(void) {
    sem_init(&ping, 0, 0);
    sem_init(&pong, 0, 0);
    pthread_t t;
    pthread_create(&t, NULL, other, NULL);
    for (int i = 0; i < 1000; i++) {
        sem_post(&ping);
        sem_wait(&pong);
    }
    pthread_join(t, NULL);
    int value;
    SHOW(sem_getvalue(&ping, &value));
    SHOW(value);
    SHOW(sem_trywait(&ping));
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    SHOW(sem_timedwait(&ping, &limit));
    sem_t *named = sem_open("/coracle-test-sem", O_CREAT | O_EXCL, 0600, 2);
    CHECK(named != SEM_FAILED);
    SHOW(sem_wait(named));
    SHOW(sem_trywait(named));
    SHOW(sem_trywait(named));
    SHOW(sem_unlink("/coracle-test-sem"));
    SHOW(sem_close(named));
    DONE();
}
