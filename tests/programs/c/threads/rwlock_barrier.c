// Read-write locks and barriers.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static int a, b;
static atomic_int torn, serial, phase_errors, arrived;
static void *work(void *argument) {
    long id = (long)argument;
    for (int i = 0; i < 2000; i++) {
        if (id == 0) {
            pthread_rwlock_wrlock(&lock);
            a++;
            b++;
        } else {
            pthread_rwlock_rdlock(&lock);
            if (a != b)
                torn++;
        }
        pthread_rwlock_unlock(&lock);
    }
    for (int phase = 1; phase <= 20; phase++) {
        atomic_fetch_add(&arrived, 1);
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            serial++;
        if (atomic_load(&arrived) < phase * 4)
            phase_errors++;
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(void) {
    pthread_barrier_init(&barrier, NULL, 4);
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(torn);
    SHOW(a);
    SHOW(serial);
    SHOW(phase_errors);
    SHOW_ERROR(pthread_rwlock_rdlock(&lock));
    SHOW_ERROR(pthread_rwlock_tryrdlock(&lock));
    SHOW_ERROR(pthread_rwlock_trywrlock(&lock));
    DONE();
}
