// Several threads wait on one set; registrations come and go while they do; every byte is taken once.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { PAIRS = 32, BYTES = 50, WORKERS = 3 };
static int ep, pair[PAIRS][2];
static atomic_int received;
static void *worker(void *unused) {
    (void)unused;
    while (atomic_load(&received) < PAIRS * BYTES) {
        struct epoll_event e[8];
        int n = epoll_wait(ep, e, 8, 50);
        for (int i = 0; i < n; i++) {
            char b[4];
            ssize_t r = read(pair[e[i].data.u32][0], b, sizeof b);
            if (r > 0)
                atomic_fetch_add(&received, (int)r);
            e[i].events = EPOLLIN | EPOLLONESHOT;
            CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, pair[e[i].data.u32][0], &e[i]) == 0);
        }
    }
    return NULL;
}

int main(void) {
    ep = epoll_create1(0);
    pthread_t t[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&t[i], NULL, worker, NULL);
    for (unsigned i = 0; i < PAIRS; i++) {
        NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair[i]) == 0);
        struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = i};
        NEED(epoll_ctl(ep, EPOLL_CTL_ADD, pair[i][0], &e) == 0);
    }
    for (int k = 0; k < BYTES; k++)
        for (int i = 0; i < PAIRS; i++)
            CHECK(write(pair[i][1], "x", 1) == 1);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(t[i], NULL);
    SHOW(received);
    DONE();
}
