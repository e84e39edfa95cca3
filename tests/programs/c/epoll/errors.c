// What epoll_create, epoll_ctl and epoll_wait refuse.
#include "t.h"
#include <sys/epoll.h>

int main(void) {
    int p[2], ep = epoll_create1(0);
    NEED(pipe(p) == 0);
    struct epoll_event e = {.events = EPOLLIN};
    SHOW(epoll_create(0));
    SHOW(epoll_create1(1));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], &e));
    SHOW(epoll_ctl(ep, 99, p[0], &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &e));
    SHOW(epoll_ctl(999, EPOLL_CTL_ADD, p[0], &e));
    SHOW(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], (void *)8));
    SHOW(epoll_wait(ep, &e, 0, 0));
    SHOW(epoll_wait(ep, &e, -1, 0));
    SHOW(epoll_wait(p[0], &e, 1, 0));
    write(p[1], "x", 1);
    SHOW(epoll_wait(ep, (void *)8, 1, 0));
    SHOW(epoll_wait(ep, &e, 1, 0));
    // A copy of the descriptor keeps the registration alive.
    int copy = dup(p[0]);
    close(p[0]);
    SHOW(epoll_wait(ep, &e, 1, 0));
    close(copy);
    SHOW(epoll_wait(ep, &e, 1, 0));
    char b[1];
    SHOW(read(ep, b, 1));
    SHOW(write(ep, b, 1));
    DONE();
}
