// EPOLLEXCLUSIVE: several sets wait for one descriptor; each arrival wakes at least one and loses none.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int fd;
static atomic_int taken;
static void *worker(void *unused) {
    (void)unused;
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
    while (atomic_load(&taken) < 100) {
        CHECK(epoll_wait(ep, &e, 1, 20) >= 0);
        uint64_t v;
        if (read(fd, &v, 8) == 8)
            atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

int main(void) {
    fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, worker, NULL);
    for (int i = 0; i < 100; i++) {
        eventfd_write(fd, 1);
        if (i % 10 == 0)
            sleep_ms(2);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(taken);
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e));
    e.events |= EPOLLONESHOT;
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e));
    DONE();
}
