// A peer that takes nothing: TCP_USER_TIMEOUT ends the connection, and a sleeping send, recv or poll learns of it once
// (tcp(7)).
// machines: all
#include "net.h"

static char bytes[1 << 20];
enum { PATIENCE_MS = 600, DELAYED_ACK_MS = 100 };

// One end of a connection whose other end never reads; `fd[1]` is the silent one.
static void stalled(int fd[2]) {
    tcp_pair(fd);
    // What does not fit at once may fit when the peer's kernel has acknowledged the rest.
    for (int moved = 1; moved; sleep_ms(DELAYED_ACK_MS))
        for (moved = 0; send(fd[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0;)
            moved = 1;
    // Set at last: on a slow machine it may pass while the peer is filled.
    int patience = PATIENCE_MS;
    CHECK(setsockopt(fd[0], IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience) == 0);
}

static void after(int fd) {
    char byte;
    int error = -1;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    SHOW(error);
    SHOW(recv(fd, &byte, 1, 0));
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
}

int main(void) {
    char byte;
    int fd[2];

    stalled(fd);
    SHOW(recv(fd[0], &byte, 1, 0));
    after(fd[0]);
    close(fd[0]), close(fd[1]);

    stalled(fd);
    // What still fits is counted first; the error is left to the next call.
    while (send(fd[0], bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
        ;
    CHECK(errno == ETIMEDOUT);
    after(fd[0]);
    close(fd[0]), close(fd[1]);

    stalled(fd);
    // Not for POLLOUT at first: the sender's timer against silly windows may make room when all has been still for long.
    struct pollfd p = {.fd = fd[0], .events = POLLIN | POLLRDHUP};
    SHOW(poll(&p, 1, -1));
    p.events |= POLLOUT;
    SHOW(poll(&p, 1, -1));
    SHOW(p.revents == (POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP));
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd[0], SOL_SOCKET, SO_ERROR, &error, &size);
    SHOW(error == ETIMEDOUT);
    after(fd[0]);

    // A time limit of the socket is another matter.
    int pair[2];
    tcp_pair(pair);
    struct timeval limit = {.tv_usec = 20000};
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    SHOW(recv(pair[0], &byte, 1, 0));
    DONE();
}
