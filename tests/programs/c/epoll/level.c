// Level-triggered epoll tells of readiness for as long as it lasts.
#include "t.h"
#include <sys/epoll.h>

int main(void) {
    int p[2], ep = epoll_create1(EPOLL_CLOEXEC);
    NEED(pipe(p) == 0);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x123456789abcdef0}, got[4];
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    SHOW(epoll_wait(ep, got, 4, 0));
    write(p[1], "ab", 2);
    for (int i = 0; i < 2; i++) {
        SHOW(epoll_wait(ep, got, 4, 0));
        CHECK(got[0].events == EPOLLIN && got[0].data.u64 == 0x123456789abcdef0);
    }
    char c;
    read(p[0], &c, 1);
    SHOW(epoll_wait(ep, got, 4, 0));
    read(p[0], &c, 1);
    SHOW(epoll_wait(ep, got, 4, 10));
    e.events = EPOLLOUT;
    e.data.u32 = 2;
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
    SHOW(epoll_wait(ep, got, 4, -1));
    SHOW(got[0].events);
    e.events = 0;
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
    SHOW(epoll_wait(ep, got, 4, 0));
    close(p[0]);
    SHOW(epoll_wait(ep, got, 4, 100));
    SHOW(got[0].events);
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL));
    SHOW(epoll_wait(ep, got, 4, 0));
    NEED(pipe(p) == 0);
    e.events = EPOLLIN;
    epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e);
    write(p[1], "x", 1);
    close(p[1]);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(got[0].events);
    close(p[0]);
    SHOW(epoll_wait(ep, got, 4, 0));
    DONE();
}
