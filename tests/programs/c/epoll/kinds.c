// epoll on every kind of descriptor: which events each has from the start and after something happened.
#include "net.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static int events(int fd) {
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)) {
        int error = errno;
        close(ep);
        errno = error;
        return -1;
    }
    int n = epoll_wait(ep, &e, 1, 0);
    close(ep);
    return n == 1 ? (int)e.events : 0;
}

int main(void) {
    int p[2], s[2], t[2];
    NEED(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    tcp_pair(t);
    SHOW(events(p[0]));
    SHOW(events(p[1]));
    write(p[1], "x", 1);
    SHOW(events(p[0]));
    SHOW(events(s[0]));
    write(s[1], "x", 1);
    SHOW(events(s[0]));
    close(s[1]);
    SHOW(events(s[0]));
    SHOW(events(t[0]));
    write(t[1], "x", 1);
    SHOW(events_of(t[0], POLLIN, 60000));
    SHOW(events(t[0]));
    close(t[1]);
    SHOW(events_of(t[0], POLLRDHUP, 60000));
    SHOW(events(t[0]));
    int l = tcp_listener(5);
    SHOW(events(l));
    int c = tcp_connect(l);
    SHOW(events_of(l, POLLIN, 60000));
    SHOW(events(l));
    close(c);
    int u = udp_socket();
    SHOW(events(u));
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(events(fresh));
    int e = eventfd(0, 0);
    SHOW(events(e));
    eventfd_write(e, 1);
    SHOW(events(e));
    int tf = timerfd_create(CLOCK_MONOTONIC, 0);
    SHOW(events(tf));
    struct itimerspec when = {.it_value = {0, 1}};
    timerfd_settime(tf, 0, &when, NULL);
    WAIT_UNTIL(poll(&(struct pollfd){.fd = tf, .events = POLLIN}, 1, 0));
    SHOW(events(tf));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int sf = signalfd(-1, &set, 0);
    SHOW(events(sf));
    raise(SIGUSR1);
    SHOW(events(sf));
    enter_scratch();
    int f = open("f", O_RDWR | O_CREAT, 0600);
    SHOW(events(f));
    SHOW(events(open("/dev/null", O_RDWR)));
    SHOW(events(open(".", O_RDONLY)));
    SHOW(events(999));
    DONE();
}
