// Endless recursion in a thread ends the whole program.
#include "t.h"
#include <pthread.h>

static int recurse(volatile char *above) {
    volatile char frame[1000];
    frame[0] = above[0];
    return recurse(frame) + frame[0];
}
static void *thread(void *unused) { return unused + recurse((char[]){1}); }

int main(void) {
    puts("going down in a thread");
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    return 0;
}
