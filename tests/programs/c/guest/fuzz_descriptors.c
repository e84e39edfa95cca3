// Random calls on real descriptors of every kind from several threads at once: the kernel must survive.
// modes: protected
// linux: no
// stdout-has: survived
#include "net.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

static char buffer[4][65536];
static void *storm(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument + 99;
    char *b = buffer[(long)argument];
    for (int i = 0; i < 8000; i++) {
        int fd = 3 + rand_r(&seed) % 40, other = 3 + rand_r(&seed) % 40;
        size_t n = (size_t)rand_r(&seed) % 3000;
        struct epoll_event e = {.events = (unsigned)rand_r(&seed), .data.fd = fd};
        struct sockaddr_in a = loopback((uint16_t)rand_r(&seed));
        int p[2];
        switch (rand_r(&seed) % 24) {
        case 0: close(fd); break;
        case 1: dup2(fd, other); break;
        case 2: write(fd, b, n); break;
        case 3: read(fd, b, n); break;
        case 4: if (pipe2(p, O_NONBLOCK) == 0) break; break;
        case 5: socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); break;
        case 6: socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0); break;
        case 7: socketpair(AF_UNIX, (rand_r(&seed) & 1 ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0, p); break;
        case 8: bind(fd, ADDR(a)); break;
        case 9: listen(fd, 5); break;
        case 10: accept4(fd, NULL, NULL, SOCK_NONBLOCK); break;
        case 11: { socklen_t l = sizeof a; getsockname(other, (struct sockaddr *)&a, &l); connect(fd, ADDR(a)); break; }
        case 12: epoll_create1(0); break;
        case 13: epoll_ctl(fd, 1 + rand_r(&seed) % 3, other, &e); break;
        case 14: epoll_wait(fd, (struct epoll_event *)(void *)b, 10, 0); break;
        case 15: eventfd(0, EFD_NONBLOCK); break;
        case 16: timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK); break;
        case 17: { struct itimerspec t = {{0, 1000000}, {0, rand_r(&seed) % 1000000}}; timerfd_settime(fd, 0, &t, NULL); break; }
        case 18: shutdown(fd, rand_r(&seed) % 3); break;
        case 19: { struct pollfd f[2] = {{fd, -1, 0}, {other, -1, 0}}; poll(f, 2, 0); break; }
        case 20: open("/tmp/storm", O_RDWR | O_CREAT | O_NONBLOCK, 0600); break;
        case 21: ftruncate(fd, rand_r(&seed) % 100000); break;
        case 22: send(fd, b, n, MSG_DONTWAIT | MSG_NOSIGNAL); break;
        case 23: fcntl(fd, F_SETFL, O_NONBLOCK); break;
        }
    }
    return NULL;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    int out = fcntl(1, F_DUPFD, 200);
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, storm, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    dprintf(out, "survived\n");
    _exit(0);
}
