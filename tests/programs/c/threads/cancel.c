// pthread_cancel: deferred at cancellation points, asynchronous, disabled; cleanup handlers run.
#include "t.h"
#include <pthread.h>

static volatile int cleaned;
// The id of the thread that is about to wait.
static volatile long started;
static void cleanup(void *argument) { cleaned += (int)(long)argument; }
static void *sleeper(void *unused) {
    (void)unused;
    pthread_cleanup_push(cleanup, (void *)1);
    started = syscall(SYS_gettid);
    for (;;)
        sleep(100);
    pthread_cleanup_pop(0);
    return NULL;
}
static void *spinner(void *unused) {
    (void)unused;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    started = syscall(SYS_gettid);
    for (;;) {
    }
    return NULL;
}
static volatile int go;
static void *stubborn(void *unused) {
    (void)unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    while (!go)
        sleep_ms(1);
    return (void *)77;
}
static void *reader(void *fd) {
    char c;
    started = syscall(SYS_gettid);
    read((int)(long)fd, &c, 1);
    return NULL;
}
static long end(pthread_t t) {
    void *result;
    pthread_join(t, &result);
    return result == PTHREAD_CANCELED ? -7 : (long)result;
}

int main(void) {
    pthread_t t;
    pthread_create(&t, NULL, sleeper, NULL);
    WAIT_UNTIL(started);
    wait_until_asleep(started);
    SHOW_ERROR(pthread_cancel(t));
    SHOW(end(t));
    SHOW(cleaned);
    started = 0;
    pthread_create(&t, NULL, spinner, NULL);
    WAIT_UNTIL(started);
    SHOW_ERROR(pthread_cancel(t));
    SHOW(end(t));
    pthread_create(&t, NULL, stubborn, NULL);
    SHOW_ERROR(pthread_cancel(t));
    go = 1;
    SHOW(end(t));
    int p[2];
    NEED(pipe(p) == 0);
    started = 0;
    pthread_create(&t, NULL, reader, (void *)(long)p[0]);
    WAIT_UNTIL(started);
    wait_until_asleep(started);
    SHOW_ERROR(pthread_cancel(t));
    SHOW(end(t));
    DONE();
}
