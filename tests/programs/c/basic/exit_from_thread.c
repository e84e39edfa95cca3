// exit_group from a second thread ends the program, whatever the others wait for.
#include "t.h"
#include <pthread.h>

static void *ender(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    puts("ending from a thread");
    _exit(17);
}

int main(void) {
    pthread_t t;
    pthread_create(&t, NULL, ender, NULL);
    for (;;)
        pause();
}
