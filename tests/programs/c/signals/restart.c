// SA_RESTART resumes read, futex and wait calls; without it they end with EINTR; some never resume.
#include "t.h"
#include <poll.h>
#include <pthread.h>

static volatile int caught;
static void handler(int signal) { (void)signal, caught++; }
static int p[2];
static pthread_t main_thread;
static void *disturb(void *write_too) {
    wait_until_asleep(getpid());
    pthread_kill(main_thread, SIGUSR1);
    WAIT_UNTIL(caught);
    // In the call again, or waiting for the end of this thread.
    wait_until_asleep(getpid());
    if (write_too)
        write(p[1], "x", 1);
    return NULL;
}
static pthread_t t;
static void start(int flags, long write_too) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    caught = 0;
    pthread_create(&t, NULL, disturb, (void *)write_too);
}

int main(void) {
    main_thread = pthread_self();
    NEED(pipe(p) == 0);
    char c;
    start(SA_RESTART, 1);
    SHOW(read(p[0], &c, 1));
    pthread_join(t, NULL);
    SHOW(caught);
    start(0, 1);
    SHOW(read(p[0], &c, 1));
    pthread_join(t, NULL);
    SHOW(caught);
    SHOW(read(p[0], &c, 1));
    start(SA_RESTART, 1);
    struct pollfd f = {.fd = p[0], .events = POLLIN};
    SHOW(poll(&f, 1, -1));
    pthread_join(t, NULL);
    SHOW(read(p[0], &c, 1));
    start(SA_RESTART, 0);
    struct timespec request = {200, 0}, left;
    SHOW(nanosleep(&request, &left));
    CHECK(left.tv_sec > 0 && left.tv_sec < 200);
    pthread_join(t, NULL);
    start(SA_RESTART, 0);
    SHOW(pause());
    pthread_join(t, NULL);
    DONE();
}
