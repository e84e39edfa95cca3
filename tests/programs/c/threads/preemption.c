// Threads that never call the kernel share the CPUs: each gets on about as far, and a sleeper wakes in time among them,
// however often it sleeps.
#include "t.h"
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_long count[4];
static atomic_bool stop;
static void *spin(void *argument) {
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        atomic_fetch_add_explicit(&count[(long)argument], 1, memory_order_relaxed);
    return NULL;
}

int main(void) {
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, spin, (void *)i);
    long start = now_ms();
    for (int i = 0; i < 10; i++)
        sleep_ms(20);
    long took = now_ms() - start;
    CHECK(took >= 200 && took < 5000);
    for (int i = 0; i < 100; i++)
        sleep_ms(1);
    sleep_ms(200);
    stop = true;
    long least = LONG_MAX, most = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        least = count[i] < least ? count[i] : least;
        most = count[i] > most ? count[i] : most;
    }
    CHECK(least > 1000);
    CHECK(most / 20 < least);
    puts("all went on");
    DONE();
}
