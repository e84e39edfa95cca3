// Flags and sizes that there are not, or not together: splice(2), tee(2), vmsplice(2), F_SETPIPE_SZ, EPOLLEXCLUSIVE, timer_settime(2); and
// clocks that would wake the machine.
#include "t.h"
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

int main(void) {
    int from[2], to[2];
    NEED(pipe(from) == 0 && pipe(to) == 0 && write(from[1], "bytes", 5) == 5);
    struct iovec piece = {"abc", 3};
    SHOW(splice(from[0], NULL, to[1], NULL, 5, 0x10));
    SHOW(splice(from[0], NULL, to[1], NULL, 5, 0x80000000));
    SHOW(splice(from[0], NULL, to[1], NULL, 0, 0x10));
    SHOW(splice(-1, NULL, to[1], NULL, 0, 0));
    SHOW(tee(from[0], to[1], 5, 0x10));
    SHOW(tee(from[0], to[1], 0, 0x10));
    SHOW(tee(-1, to[1], 0, 0));
    SHOW(vmsplice(to[1], &piece, 1, 0x10));
    SHOW(splice(from[0], NULL, to[1], NULL, 5, SPLICE_F_MOVE | SPLICE_F_MORE | SPLICE_F_GIFT | SPLICE_F_NONBLOCK));
    SHOW(fcntl(from[0], F_SETPIPE_SZ, -1));
    SHOW(fcntl(from[0], F_SETPIPE_SZ, 0x80000001));
    SHOW(fcntl(from[0], F_SETPIPE_SZ, 0));
    int set = epoll_create1(0), inner = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLEXCLUSIVE | EPOLLONESHOT | EPOLLIN};
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, from[0], &event));
    event.events = EPOLLEXCLUSIVE | EPOLLPRI;
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, from[0], &event));
    event.events = EPOLLEXCLUSIVE | EPOLLIN;
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, inner, &event));
    event.events = EPOLLEXCLUSIVE | EPOLLET | EPOLLIN | EPOLLWAKEUP;
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, from[0], &event));
    event.events = EPOLLIN;
    SHOW(epoll_ctl(set, EPOLL_CTL_MOD, from[0], &event));
    timer_t made;
    SHOW(timer_create(CLOCK_MONOTONIC, NULL, &made));
    struct itimerspec never = {{0, 0}, {0, 0}};
    SHOW(syscall(SYS_timer_settime, 0, 0, NULL, NULL));
    SHOW(syscall(SYS_timer_settime, 77, 0, NULL, NULL));
    SHOW(syscall(SYS_timer_settime, 77, 0, 8, NULL));
    SHOW(syscall(SYS_timer_settime, 77, 0, &never, NULL));
    // CAP_WAKE_ALARM is needed.
    if (geteuid() == 0)
        NEED(setuid(65534) == 0);
    SHOW(timerfd_create(CLOCK_REALTIME_ALARM, 0));
    SHOW(timerfd_create(CLOCK_BOOTTIME_ALARM, 0));
    SHOW(timerfd_create(CLOCK_BOOTTIME_ALARM, 0x1234));
    SHOW(timerfd_create(CLOCK_BOOTTIME, 0) >= 0);
    DONE();
}
