// Threads that never call the kernel share the CPUs: each gets on about as far, and a sleeper wakes in time among them,
// however often it sleeps.
#include "t.h"
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_long count[4];
static long long used_ns[4];
static atomic_bool stop;
static void *spin(void *argument) {
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        atomic_fetch_add_explicit(&count[(long)argument], 1, memory_order_relaxed);
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    used_ns[(long)argument] = used.tv_sec * 1000000000LL + used.tv_nsec;
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
    // By the CPU's time: a CPU of a virtual machine whose host is busy does less in it than another.
    long long least = LLONG_MAX, most = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CHECK(count[i] > 1000);
        least = used_ns[i] < least ? used_ns[i] : least;
        most = used_ns[i] > most ? used_ns[i] : most;
    }
    CHECK(most / 10 < least);
    puts("all went on");
    DONE();
}
