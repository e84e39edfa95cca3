// A page unmapped or protected by one thread is so at once for another on another CPU.
#include "t.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

static __thread sigjmp_buf out;
static void caught(int signal) { siglongjmp(out, signal); }
static atomic_int turn;
static volatile char *page;
static atomic_int stale;

static void *other(void *unused) {
    (void)unused;
    for (int round = 0; round < 200; round++) {
        while (atomic_load(&turn) != 2 * round + 1)
            sched_yield();
        if (sigsetjmp(out, 1) == 0) {
            *page = 1;
            atomic_fetch_add(&stale, 1);
        }
        atomic_store(&turn, 2 * round + 2);
    }
    return NULL;
}

int sched_yield(void);

int main(void) {
    signal(SIGSEGV, caught);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t t;
    pthread_create(&t, NULL, other, NULL);
    for (int round = 0; round < 200; round++) {
        mprotect((void *)page, 4096, PROT_READ | PROT_WRITE);
        *page = 2;
        mprotect((void *)page, 4096, PROT_READ);
        atomic_store(&turn, 2 * round + 1);
        while (atomic_load(&turn) != 2 * round + 2)
            sched_yield();
    }
    pthread_join(t, NULL);
    SHOW(stale);
    DONE();
}
