// connect(2) that does not wait: EINPROGRESS even to a peer on this host, and how it ended afterwards.
// machines: all
#include "net.h"

static int socket_error(int fd) {
    int error;
    socklen_t size = sizeof error;
    NEED(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error;
}

int main(void) {
    int l = tcp_listener(5);
    struct sockaddr_in there = local_address(l);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(connect(fd, ADDR(there)));
    SHOW(events_of(fd, POLLOUT, 60000) == POLLOUT);
    SHOW(socket_error(fd));
    SHOW(connect(fd, ADDR(there)));
    SHOW(connect(fd, ADDR(there)));
    SHOW(write(fd, "x", 1));
    close(fd), close(accept(l, NULL, NULL));

    struct sockaddr_in nowhere = loopback(1);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(connect(fd, ADDR(nowhere)));
    SHOW(events_of(fd, POLLIN | POLLOUT, 60000) == (POLLIN | POLLOUT | POLLERR | POLLHUP));
    SHOW(connect(fd, ADDR(nowhere)));
    SHOW(events_of(fd, POLLIN | POLLOUT, 0) == (POLLOUT | POLLHUP));
    SHOW(connect(fd, ADDR(nowhere)));
    SHOW(events_of(fd, POLLIN | POLLOUT, 60000) == (POLLIN | POLLOUT | POLLERR | POLLHUP));
    puts(t_errno(socket_error(fd)));
    SHOW(socket_error(fd));
    // The socket can be used for another attempt, once connect has reported the end of this one.
    SHOW(connect(fd, ADDR(there)));
    SHOW(connect(fd, ADDR(there)));
    SHOW(events_of(fd, POLLOUT, 60000) & POLLOUT);
    close(fd), close(accept(l, NULL, NULL));

    fd = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(fd, ADDR(nowhere)));
    SHOW(connect(fd, ADDR(there)));
    SHOW(connect(fd, ADDR(there)));
    SHOW(write(fd, "x", 1));
    DONE();
}
