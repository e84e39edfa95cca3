// An epoll set inside another is readable while it has events; circles are refused.
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>

int main(void) {
    int p[2], inner = epoll_create1(0), outer = epoll_create1(0);
    NEED(pipe(p) == 0);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = 1}, got[2];
    SHOW(epoll_ctl(inner, EPOLL_CTL_ADD, p[0], &e));
    e.data.u32 = 2;
    SHOW(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e));
    SHOW(epoll_wait(outer, got, 2, 0));
    write(p[1], "x", 1);
    SHOW(epoll_wait(outer, got, 2, 100));
    SHOW(got[0].data.u32);
    SHOW(epoll_wait(inner, got, 2, 0));
    SHOW(got[0].data.u32);
    struct pollfd f = {.fd = outer, .events = POLLIN};
    SHOW(poll(&f, 1, 0));
    char c;
    read(p[0], &c, 1);
    SHOW(poll(&f, 1, 0));
    SHOW(epoll_wait(outer, got, 2, 0));
    SHOW(epoll_ctl(inner, EPOLL_CTL_ADD, inner, &e));
    SHOW(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &e));
    close(inner);
    write(p[1], "x", 1);
    SHOW(epoll_wait(outer, got, 2, 0));
    DONE();
}
