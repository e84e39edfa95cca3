// Threads until there is no memory for one more: pthread_create(3) fails with EAGAIN, and those that were made have memory to begin with, so that no
// process is killed. With one CPU none of them has run by then (SCHED_FIFO, sched(7)).
// linux: no
// memory: 64M
// machines: all
#include "t.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

// No less than PTHREAD_STACK_MIN of any architecture.
enum { MOST = 20000, STACK = 128 << 10, USED = 4096 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static sem_t begun;

static void *thread(void *argument) {
    volatile char used[USED];
    for (int i = 0; i < USED; i += 64)
        used[i] = 1;
    sem_post(&begun);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return argument;
}

int main(void) {
    static pthread_t threads[MOST];
    struct sched_param first = {.sched_priority = 1};
    pthread_attr_t attributes;
    int count = 0, error = 0;
    NEED(sched_setscheduler(0, SCHED_FIFO, &first) == 0);
    NEED(sem_init(&begun, 0, 0) == 0);
    NEED(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0);
    pthread_mutex_lock(&gate);
    while (count < MOST && !(error = pthread_create(&threads[count], &attributes, thread, NULL)))
        count++;
    CHECK(error == EAGAIN);
    CHECK(count > 500);
    for (int i = 0; i < count; i++)
        sem_wait(&begun);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < count; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    // There is room again.
    NEED(pthread_create(&threads[0], &attributes, thread, NULL) == 0 && pthread_join(threads[0], NULL) == 0);
    DONE();
}
