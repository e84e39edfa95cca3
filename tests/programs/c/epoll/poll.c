// poll and ppoll: events, hang-ups, invalid and negative descriptors, time-outs, signals.
#include "t.h"
#include <poll.h>
#include <pthread.h>

static int p[2];
static void *writer(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    write(p[1], "x", 1);
    return NULL;
}
static volatile int caught;
static void handler(int signal) { (void)signal, caught++; }

int main(void) {
    NEED(pipe(p) == 0);
    struct pollfd f[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 7}};
    SHOW(poll(f, 3, -1));
    printf("%d %d %d\n", f[0].revents, f[1].revents, f[2].revents);
    f[2].fd = 999;
    SHOW(poll(f, 3, -1));
    printf("%d %d %d\n", f[0].revents, f[1].revents, f[2].revents);
    long start = now_ms();
    SHOW(poll(f, 1, 30));
    CHECK(now_ms() - start >= 29);
    SHOW(poll(NULL, 0, 10));
    pthread_t t;
    pthread_create(&t, NULL, writer, NULL);
    SHOW(poll(f, 1, -1));
    SHOW(f[0].revents);
    pthread_join(t, NULL);
    f[0].events = 0;
    SHOW(poll(f, 1, 0));
    close(p[1]);
    SHOW(poll(f, 1, 0));
    SHOW(f[0].revents);
    signal(SIGALRM, handler);
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGALRM);
    struct timespec limit = {5, 0};
    SHOW(ppoll(NULL, 0, &limit, &none));
    SHOW(caught);
    limit = (struct timespec){0, 1000000};
    SHOW(ppoll(NULL, 0, &limit, NULL));
    limit.tv_nsec = -1;
    SHOW(ppoll(NULL, 0, &limit, NULL));
    SHOW(poll((void *)8, 1, 0));
    SHOW(poll(f, 1 << 30, 0));
    DONE();
}
