// Threads on stacks of every size and alignment, of their own or given, with arguments in registers as the ABI says.
#include "t.h"
#include <pthread.h>

static void *work(void *argument) {
    char big[4000];
    memset(big, 1, sizeof big);
    CHECK(((uintptr_t)__builtin_frame_address(0) & 15) == 0);
    return (void *)((long)argument + big[99]);
}

int main(void) {
    for (int i = 0; i < 5; i++) {
        size_t size = (size_t)LEAST_STACK << (2 * i);
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        SHOW_ERROR(pthread_attr_setstacksize(&attr, size));
        pthread_t t;
        void *result;
        SHOW_ERROR(pthread_create(&t, &attr, work, (void *)(long)i));
        pthread_join(t, &result);
        SHOW((long)result);
    }
    const size_t size = 4 * LEAST_STACK;
    char *own = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_GROWSDOWN, -1, 0);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    SHOW_ERROR(pthread_attr_setstack(&attr, own, size));
    pthread_t t;
    void *result;
    SHOW_ERROR(pthread_create(&t, &attr, work, (void *)10));
    pthread_join(t, &result);
    SHOW((long)result);
    DONE();
}
