// A reset: close with unread data, SO_LINGER of zero; the other side sees ECONNRESET, then EPIPE.
#include "net.h"

int main(void) {
    int fd[2];
    char b[32];
    signal(SIGPIPE, SIG_IGN);
    tcp_pair(fd);
    struct linger linger = {1, 0};
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    SHOW(close(fd[0]));
    int e = events_of(fd[1], POLLIN | POLLOUT | POLLRDHUP, 60000);
    SHOW((e & POLLERR) != 0);
    SHOW((e & POLLHUP) != 0);
    int error = 0;
    socklen_t length = sizeof error;
    SHOW(getsockopt(fd[1], SOL_SOCKET, SO_ERROR, &error, &length));
    puts(t_errno(error));
    SHOW(getsockopt(fd[1], SOL_SOCKET, SO_ERROR, &error, &length));
    SHOW(error);
    SHOW(read(fd[1], b, 32));
    SHOW(write(fd[1], "x", 1));
    tcp_pair(fd);
    write(fd[1], "unread", 6);
    events_of(fd[0], POLLIN, 60000);
    close(fd[0]);
    events_of(fd[1], POLLIN, 60000);
    SHOW(read(fd[1], b, 32));
    SHOW(read(fd[1], b, 32));
    tcp_pair(fd);
    close(fd[0]);
    events_of(fd[1], POLLIN, 60000);
    SHOW(read(fd[1], b, 32));
    SHOW(write(fd[1], "x", 1));
    // The reset that answers it.
    NEED(events_of(fd[1], POLLHUP, 60000));
    SHOW(write(fd[1], "x", 1));
    DONE();
}
