// timerfd: relative, absolute and periodic; counts of expiries; disarming; poll; what is refused.
#include "t.h"
#include <poll.h>
#include <sys/timerfd.h>

int main(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    uint64_t n = 0;
    SHOW(read(fd, &n, 8));
    struct itimerspec t = {.it_value = {3600, 0}}, old;
    SHOW(timerfd_settime(fd, 0, &t, NULL));
    SHOW(read(fd, &n, 8));
    t.it_value = (struct timespec){0, 20000000};
    long start = now_ms();
    SHOW(timerfd_settime(fd, 0, &t, NULL));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SHOW(poll(&p, 1, 5000));
    SHOW(p.revents);
    CHECK(now_ms() - start >= 19);
    SHOW(read(fd, &n, 8));
    SHOW(n);
    SHOW(read(fd, &n, 8));
    t = (struct itimerspec){.it_interval = {0, 10000000}, .it_value = {0, 10000000}};
    SHOW(timerfd_settime(fd, 0, &t, NULL));
    sleep_ms(55);
    SHOW(read(fd, &n, 8));
    CHECK(n >= 5);
    SHOW(timerfd_gettime(fd, &old));
    CHECK(old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec <= 10000000);
    t = (struct itimerspec){0};
    SHOW(timerfd_settime(fd, 0, &t, &old));
    SHOW(old.it_interval.tv_nsec);
    SHOW(poll(&p, 1, 30) >= 0);
    fcntl(fd, F_SETFL, 0);
    clock_gettime(CLOCK_MONOTONIC, &t.it_value);
    t.it_value.tv_sec += 0;
    SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL));
    SHOW(read(fd, &n, 8));
    SHOW(n);
    int real = timerfd_create(CLOCK_REALTIME, 0);
    clock_gettime(CLOCK_REALTIME, &t.it_value);
    t.it_value.tv_sec -= 100;
    SHOW(timerfd_settime(real, TFD_TIMER_ABSTIME, &t, NULL));
    SHOW(read(real, &n, 8));
    SHOW(read(real, &n, 4));
    SHOW(timerfd_create(999, 0));
    SHOW(timerfd_create(CLOCK_MONOTONIC, 0x100));
    t.it_value.tv_nsec = 1000000000;
    SHOW(timerfd_settime(fd, 0, &t, NULL));
    SHOW(timerfd_settime(0, 0, &old, NULL) < 0);
    SHOW(write(fd, &n, 8));
    DONE();
}
