// Threads that open, duplicate and close the same few descriptors, watch them with epoll and use them, at once.
// machines: all
// flags: -pthread
#include "stress.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

enum { FIRST = 100, COUNT = 24 };
static int sets[2];

static void put(int fd, int at) {
    if (fd >= 0) {
        dup2(fd, at);
        close(fd);
    }
}

static void stress_step(unsigned thread) {
    (void)thread;
    int fd = FIRST + (int)below(COUNT), ends[2], set = sets[below(2)];
    switch (below(11)) {
    case 0: dup2(0, fd); break;
    case 1: close(fd); break;
    case 2:
    case 3: {
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLOUT | (below(2) ? EPOLLET : 0) | (below(3) ? 0 : EPOLLONESHOT), .data.fd = fd};
        epoll_ctl(set, 1 + (int)below(3), fd, &event);
        break;
    }
    case 4: {
        struct epoll_event events[16];
        epoll_wait(set, events, 16, 0);
        break;
    }
    case 5: put(eventfd(0, EFD_NONBLOCK), fd); break;
    case 6: {
        uint64_t one = 1;
        (void)!write(fd, &one, 8);
        (void)!read(fd, &one, 8);
        break;
    }
    case 7:
        if (pipe2(ends, O_NONBLOCK) == 0)
            put(ends[0], fd), put(ends[1], FIRST + (int)below(COUNT));
        break;
    case 8: {
        int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        struct itimerspec spec = {{0, 1000}, {0, 1000}};
        timerfd_settime(timer, 0, &spec, NULL);
        put(timer, fd);
        break;
    }
    case 9: {
        struct pollfd polled[4];
        for (int i = 0; i < 4; i++)
            polled[i] = (struct pollfd){.fd = FIRST + (int)below(COUNT), .events = POLLIN};
        poll(polled, 4, 0);
        break;
    }
    case 10: put(epoll_create1(0), fd); break;
    }
}

int main(void) {
    // Reads of it give nothing, at once.
    close(0);
    NEED(open("/dev/null", O_RDWR) == 0);
    signal(SIGPIPE, SIG_IGN);
    sets[0] = epoll_create1(0);
    sets[1] = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    NEED(epoll_ctl(sets[0], EPOLL_CTL_ADD, sets[1], &event) == 0);
    stress();
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        close(fd);
    // Nothing that was closed is in the sets.
    struct epoll_event events[64];
    SHOW(epoll_wait(sets[1], events, 64, 0));
    SHOW(epoll_wait(sets[0], events, 64, 0));
    DONE();
}
