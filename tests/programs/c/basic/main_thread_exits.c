// The program lives on after its first thread has ended, until the last one does.
#include "t.h"
#include <pthread.h>

static void *survivor(void *unused) {
    (void)unused;
    // Linux keeps the first thread as a zombie.
    WAIT_UNTIL(strchr("ZX", thread_state(getpid())));
    puts("the other thread is still here");
    return NULL;
}

int main(void) {
    pthread_t t;
    pthread_create(&t, NULL, survivor, NULL);
    puts("main thread leaves");
    pthread_exit(NULL);
}
