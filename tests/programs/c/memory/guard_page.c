// The guard page below a thread's stack stops it, and the handler on the alternate stack sees where.
#include "t.h"
#include <pthread.h>
#include <setjmp.h>

static sigjmp_buf out;
static uintptr_t where;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    where = (uintptr_t)info->si_addr;
    siglongjmp(out, 1);
}
static int __attribute__((noinline)) deeper(volatile char *above) {
    volatile char frame[512];
    frame[0] = above[0];
    return deeper(frame) + frame[0];
}
static void *thread(void *unused) {
    (void)unused;
    stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&alternate, NULL);
    pthread_attr_t attr;
    pthread_getattr_np(pthread_self(), &attr);
    void *low;
    size_t size, guard;
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_getguardsize(&attr, &guard);
    SHOW(guard);
    SHOW(size);
    if (sigsetjmp(out, 1) == 0)
        deeper((char[]){0});
    CHECK(where < (uintptr_t)low + guard && where >= (uintptr_t)low - guard);
    puts("stopped by the guard page");
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_t t;
    pthread_create(&t, &attr, thread, NULL);
    pthread_join(t, NULL);
    DONE();
}
