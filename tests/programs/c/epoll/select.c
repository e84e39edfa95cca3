// select and pselect: sets, counts, time-outs that are written back, bad descriptors, signals.
#include "t.h"
#include <sys/select.h>

static volatile int caught;
static void handler(int signal) { (void)signal, caught++; }

int main(void) {
    int p[2];
    NEED(pipe(p) == 0);
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    struct timeval t = {0, 30000};
    int top = p[1] + 1;
    SHOW(select(top, &r, &w, NULL, &t));
    printf("%d %d\n", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[1], &w) != 0);
    FD_SET(p[0], &r);
    long start = now_ms();
    t = (struct timeval){0, 30000};
    SHOW(select(top, &r, NULL, NULL, &t));
    CHECK(now_ms() - start >= 29);
    SHOW(t.tv_sec * 1000000 + t.tv_usec);
    write(p[1], "x", 1);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    SHOW(select(top, &r, &w, NULL, NULL));
    int high = dup2(p[0], 900);
    FD_ZERO(&r);
    FD_SET(high, &r);
    SHOW(select(901, &r, NULL, NULL, NULL));
    SHOW(FD_ISSET(900, &r) != 0);
    FD_SET(555, &r);
    SHOW(select(901, &r, NULL, NULL, NULL));
    SHOW(select(-1, NULL, NULL, NULL, NULL));
    t = (struct timeval){-1, 0};
    SHOW(select(0, NULL, NULL, NULL, &t));
    t = (struct timeval){0, 0};
    SHOW(select(0, NULL, NULL, NULL, &t));
    signal(SIGUSR1, handler);
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    struct timespec limit = {5, 0};
    SHOW(pselect(0, NULL, NULL, NULL, &limit, &none));
    SHOW(caught);
    DONE();
}
