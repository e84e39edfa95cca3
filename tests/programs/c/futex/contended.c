// A lock built on a futex, under contention of more threads than CPUs, loses no wake-up.
#include "futex.h"

static atomic_uint lock_word;
static void lock(void) {
    unsigned seen = 0;
    if (atomic_compare_exchange_strong(&lock_word, &seen, 1))
        return;
    do {
        if (seen == 2 || (seen = 1, atomic_compare_exchange_strong(&lock_word, &seen, 2)))
            futex(&lock_word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
        seen = 0;
    } while (!atomic_compare_exchange_strong(&lock_word, &seen, 2));
}
static void unlock(void) {
    if (atomic_exchange(&lock_word, 0) == 2)
        futex(&lock_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static long counter;
static void *work(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        lock();
        counter++;
        unlock();
    }
    return NULL;
}

int main(void) {
    pthread_t t[6];
    for (int i = 0; i < 6; i++)
        pthread_create(&t[i], NULL, work, NULL);
    for (int i = 0; i < 6; i++)
        pthread_join(t[i], NULL);
    SHOW(counter);
    DONE();
}
