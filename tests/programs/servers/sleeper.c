// Sleeps in two functions, nine times as long in one as in the other; another thread waits for ever.
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static volatile int turns;

__attribute__((noinline, noipa)) static void nap_short(void) {
    usleep(2000);
    turns++;
}

__attribute__((noinline, noipa)) static void nap_long(void) {
    usleep(18000);
    turns++;
}

__attribute__((noinline, noipa)) static void *wait_for_ever(void *nothing) {
    pthread_setname_np(pthread_self(), "waiter");
    poll(NULL, 0, -1);
    turns++;
    return nothing;
}

int main(void) {
    pthread_t waiter;
    if (pthread_create(&waiter, NULL, wait_for_ever, NULL) != 0)
        return 1;
    puts("sleeper");
    fflush(stdout);
    for (;;) {
        nap_short();
        nap_long();
    }
}
