// Threads that never call the kernel share the CPUs: each gets on, and a sleeper wakes in time among them.
#include "t.h"
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
    sleep_ms(200);
    stop = true;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CHECK(count[i] > 1000);
    }
    puts("all went on");
    DONE();
}
