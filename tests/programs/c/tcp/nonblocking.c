// Non-blocking connect, accept, read and write; SO_ERROR after connect; EINPROGRESS, EALREADY, EISCONN.
#include "net.h"

int main(void) {
    int l = tcp_listener(8);
    struct sockaddr_in a = local_address(l);
    fcntl(l, F_SETFL, O_NONBLOCK);
    SHOW(accept(l, NULL, NULL));
    int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    SHOW(fcntl(c, F_GETFD));
    SHOW((fcntl(c, F_GETFL) & O_NONBLOCK) != 0);
    int r = connect(c, ADDR(a));
    CHECK(r == 0 || errno == EINPROGRESS);
    SHOW(events_of(c, POLLOUT, 60000));
    int error = -1;
    socklen_t length = sizeof error;
    SHOW(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length));
    SHOW(error);
    connect(c, ADDR(a));
    SHOW(connect(c, ADDR(a)));
    SHOW(events_of(l, POLLIN, 60000));
    int s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    SHOW(fcntl(s, F_GETFD));
    char b[65536] = {0};
    SHOW(read(s, b, 10));
    SHOW(recv(c, b, 10, MSG_DONTWAIT));
    long total = 0, got = 0;
    ssize_t n;
    // An acknowledgement may be delayed by up to 40 ms, and makes room when it comes.
    for (int quiet = 0; quiet < 10;) {
        n = write(c, b, sizeof b);
        if (n > 0)
            total += n, quiet = 0;
        else {
            CHECK(errno == EAGAIN);
            quiet++;
            sleep_ms(10);
        }
    }
    SHOW(total > 65536);
    SHOW(events_of(c, POLLOUT, 0));
    while (got < total && events_of(s, POLLIN, 60000))
        while ((n = read(s, b, sizeof b)) > 0)
            got += n;
    CHECK(got == total);
    SHOW(events_of(c, POLLOUT, 60000));
    // Nobody listens there.
    close(l);
    int refused = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    r = connect(refused, ADDR(a));
    // The refusal is told at once or when it comes.
    int at_once = errno;
    CHECK(r == -1 && (at_once == EINPROGRESS || at_once == ECONNREFUSED));
    events_of(refused, POLLOUT, 60000);
    SHOW(getsockopt(refused, SOL_SOCKET, SO_ERROR, &error, &length));
    puts(t_errno(at_once == EINPROGRESS ? error : at_once));
    SHOW(connect(socket(AF_INET, SOCK_STREAM, 0), ADDR(a)));
    DONE();
}
