// The end of a listener resets the connections that it has not accepted: ECONNRESET once, and then the end of the stream.
#include "net.h"

static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0never-accepted"};

static int connected(int type, int *listener) {
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "never-accepted-%d", getpid());
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    *listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    CHECK(bind(*listener, ADDR(name)) == 0 && listen(*listener, 4) == 0);
    CHECK(connect(fd, ADDR(name)) == 0);
    return fd;
}

static void show_events(int fd) {
    struct pollfd asked = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    CHECK(poll(&asked, 1, 0) == 1);
    printf("in %d, out %d, error %d, hung up %d %d\n", !!(asked.revents & POLLIN), !!(asked.revents & POLLOUT),
           !!(asked.revents & POLLERR), !!(asked.revents & POLLHUP), !!(asked.revents & POLLRDHUP));
}

int main(void) {
    char data[16];
    signal(SIGPIPE, SIG_IGN);
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
    for (int i = 0; i < 2; i++) {
        int listener, fd = connected(types[i], &listener), error;
        socklen_t len = sizeof error;
        close(listener);
        show_events(fd);
        CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
        printf("SO_ERROR %s\n", t_errno(error));
        show_events(fd);
        SHOW(read(fd, data, sizeof data));
        close(fd);

        fd = connected(types[i], &listener);
        SHOW(write(fd, "abc", 3));
        close(listener);
        SHOW(read(fd, data, sizeof data));
        SHOW(read(fd, data, sizeof data));
        SHOW(write(fd, "abc", 3));
        close(fd);
    }
    DONE();
}
