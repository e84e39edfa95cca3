// EPOLLONESHOT disables after one report until it is armed again.
#include "t.h"
#include <sys/epoll.h>

int main(void) {
    int p[2], ep = epoll_create(1);
    NEED(pipe(p) == 0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT}, got[4];
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    write(p[1], "x", 1);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(epoll_wait(ep, got, 4, 0));
    write(p[1], "x", 1);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    SHOW(epoll_wait(ep, got, 4, 0));
    close(p[1]);
    SHOW(epoll_wait(ep, got, 4, 0));
    e.events |= EPOLLET;
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(got[0].events);
    DONE();
}
