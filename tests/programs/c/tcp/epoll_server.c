// One thread serves two hundred connections by edge-triggered epoll, as real servers do.
#include "net.h"
#include <pthread.h>
#include <sys/epoll.h>

enum { CONNECTIONS = 200 };
static int l;
static void *clients(void *unused) {
    (void)unused;
    static int fd[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++)
        fd[i] = tcp_connect(l);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < CONNECTIONS; i++)
            write_all(fd[i], &round, sizeof round);
        for (int i = 0; i < CONNECTIONS; i++) {
            int back = -1;
            NEED(read_all(fd[i], &back, sizeof back) == sizeof back);
            CHECK(back == round);
        }
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(fd[i]);
    return NULL;
}

int main(void) {
    l = tcp_listener(512);
    fcntl(l, F_SETFL, O_NONBLOCK);
    int ep = epoll_create1(0), closed = 0;
    long messages = 0;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, got[32];
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e) == 0);
    pthread_t t;
    pthread_create(&t, NULL, clients, NULL);
    while (closed < CONNECTIONS) {
        int n = epoll_wait(ep, got, 32, 5000);
        NEED(n > 0);
        for (int i = 0; i < n; i++) {
            if (got[i].data.fd == l) {
                int fd;
                while ((fd = accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    e = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.fd = fd};
                    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
                }
                continue;
            }
            int value;
            ssize_t r;
            while ((r = read(got[i].data.fd, &value, sizeof value)) == sizeof value) {
                messages++;
                write_all(got[i].data.fd, &value, sizeof value);
            }
            if (r == 0) {
                close(got[i].data.fd);
                closed++;
            }
        }
    }
    pthread_join(t, NULL);
    SHOW(messages);
    DONE();
}
