// Edge-triggered epoll tells once per arrival, also when data was left unread.
#include "t.h"
#include <sys/epoll.h>
#include <sys/socket.h>

int main(void) {
    int s[2], ep = epoll_create1(0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP}, got[4];
    epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(got[0].events);
    SHOW(epoll_wait(ep, got, 4, 0));
    write(s[1], "one", 3);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(got[0].events & EPOLLIN);
    SHOW(epoll_wait(ep, got, 4, 0));
    write(s[1], "two", 3);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, s[0], &e));
    SHOW(epoll_wait(ep, got, 4, 0));
    char b[16];
    SHOW(read(s[0], b, 16));
    shutdown(s[1], SHUT_WR);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW((got[0].events & (EPOLLIN | EPOLLRDHUP)) == (EPOLLIN | EPOLLRDHUP));
    close(s[1]);
    SHOW(epoll_wait(ep, got, 4, 0));
    SHOW((got[0].events & EPOLLHUP) != 0);
    // Writable again after it was full.
    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
    e.events = EPOLLOUT | EPOLLET;
    epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e);
    SHOW(epoll_wait(ep, got, 4, 0) >= 1);
    char big[65536] = {0};
    while (write(s[0], big, sizeof big) > 0) {
    }
    while (epoll_wait(ep, got, 4, 0) > 0) {
    }
    while (read(s[1], big, sizeof big) > 0) {
    }
    SHOW(epoll_wait(ep, got, 4, 100));
    SHOW(got[0].events);
    DONE();
}
