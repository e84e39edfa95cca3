// Non-blocking pipes: EAGAIN when empty or full; writes up to PIPE_BUF are whole or not at all.
#include "t.h"
#include <poll.h>

int main(void) {
    int p[2];
    NEED(pipe2(p, O_NONBLOCK) == 0);
    char b[5000];
    memset(b, 'x', sizeof b);
    SHOW(read(p[0], b, 1));
    SHOW(fcntl(p[1], F_GETPIPE_SZ));
    long total = 0;
    ssize_t n;
    while ((n = write(p[1], b, 4096)) > 0)
        total += n;
    SHOW(n);
    SHOW(total);
    struct pollfd f[2] = {{.fd = p[0], .events = POLLIN}, {.fd = p[1], .events = POLLOUT}};
    SHOW(poll(f, 2, 0));
    SHOW(f[0].revents);
    SHOW(f[1].revents);
    SHOW(read(p[0], b, 4096));
    SHOW(poll(f, 2, 0));
    SHOW(write(p[1], b, 4096));
    SHOW(write(p[1], b, 1));
    SHOW(read(p[0], b, 100));
    SHOW(write(p[1], b, 4096));
    total = 100;
    while ((n = read(p[0], b, sizeof b)) > 0)
        total += n;
    SHOW(total);
    SHOW(fcntl(p[1], F_SETPIPE_SZ, 100000));
    SHOW(fcntl(p[0], F_GETPIPE_SZ));
    total = 0;
    while ((n = write(p[1], b, 4096)) > 0)
        total += n;
    SHOW(total);
    close(p[1]);
    SHOW(poll(f, 1, 0));
    SHOW(f[0].revents);
    DONE();
}
