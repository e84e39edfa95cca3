// bind and listen: addresses in use, any port, the wildcard, re-use after close, what isn't ours.
#include "net.h"

static int bound(struct sockaddr_in a, int reuse) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (reuse)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, ADDR(a)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int main(void) {
    int l = tcp_listener(4);
    struct sockaddr_in a = local_address(l), any = a, other = loopback(0);
    SHOW(bound(a, 0));
    SHOW(bound(a, 1));
    any.sin_addr.s_addr = htonl(INADDR_ANY);
    SHOW(bound(any, 0));
    inet_pton(AF_INET, "192.0.2.1", &other.sin_addr);
    SHOW(bound(other, 0));
    inet_pton(AF_INET, "127.0.0.2", &a.sin_addr);
    SHOW(bound(a, 0) >= 0);
    int fd = bound(loopback(0), 0);
    struct sockaddr_in zero = loopback(0);
    SHOW(bind(fd, ADDR(zero)));
    CHECK(local_address(fd).sin_port != 0);
    SHOW(listen(fd, 0));
    SHOW(listen(fd, -1));
    int c = tcp_connect(l), s = accept(l, NULL, NULL);
    SHOW(listen(c, 1));
    close(s);
    close(c);
    // A server that starts again takes its port back, though connections of its former life are in TIME_WAIT.
    struct sockaddr_in same = loopback(0);
    int first = bound(same, 1);
    SHOW(listen(first, 5));
    same = local_address(first);
    c = tcp_connect(first), s = accept(first, NULL, NULL);
    close(s);
    close(c);
    close(first);
    SHOW(bound(same, 1) >= 0);
    struct sockaddr_in wrong = loopback(0);
    SHOW(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&wrong, 5));
    wrong.sin_family = AF_UNIX;
    SHOW(bind(socket(AF_INET, SOCK_STREAM, 0), ADDR(wrong)));
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(accept(fresh, NULL, NULL));
    SHOW(listen(fresh, 5));
    CHECK(local_address(fresh).sin_port != 0);
    SHOW(local_address(fresh).sin_addr.s_addr);
    struct sockaddr_in p;
    socklen_t length = sizeof p;
    SHOW(getpeername(fresh, (struct sockaddr *)&p, &length));
    // Two listeners share a port by SO_REUSEPORT.
    int on = 1, r1 = socket(AF_INET, SOCK_STREAM, 0), r2 = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(r1, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(r2, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    struct sockaddr_in shared = loopback(0);
    SHOW(bind(r1, ADDR(shared)));
    shared = local_address(r1);
    SHOW(bind(r2, ADDR(shared)));
    DONE();
}
