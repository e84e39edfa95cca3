// Every bit that poll reports for sockets in their states (poll(2), tcp(7), udp(7), unix(7)).
// machines: all
#include "net.h"

static void show(const char *what, int fd) {
    static const struct { int bit; const char *name; } names[] = {
        {POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"}, {POLLHUP, "HUP"},
        {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"},
        {POLLRDHUP, "RDHUP"},
    };
    int all = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        all |= names[i].bit;
    int found = events_of(fd, all, 0);
    printf("%s:", what);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (found & names[i].bit)
            printf(" %s", names[i].name);
    puts("");
}

static void reset(int fd) {
    struct linger linger = {1, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    CHECK(close(fd) == 0);
}

static void tcp(void) {
    int fd[2], s = socket(AF_INET, SOCK_STREAM, 0);
    show("tcp, new", s);
    struct sockaddr_in nowhere = loopback(1);
    CHECK(connect(s, ADDR(nowhere)) == -1);
    show("tcp, refused and reported", s);
    close(s);
    int l = tcp_listener(2);
    show("tcp, listening", l);
    int client = tcp_connect(l);
    show("tcp, listening with a connection", l);
    close(client), close(l);
    tcp_pair(fd);
    show("tcp, connected", fd[0]);
    write_all(fd[1], "x", 1);
    show("tcp, with data", fd[0]);
    CHECK(shutdown(fd[1], SHUT_WR) == 0);
    show("tcp, data and end", fd[0]);
    show("tcp, has shut writing down", fd[1]);
    CHECK(shutdown(fd[0], SHUT_WR) == 0);
    NEED(events_of(fd[0], POLLHUP, 60000) && events_of(fd[1], POLLHUP, 60000));
    show("tcp, both ended", fd[0]);
    show("tcp, both ended", fd[1]);
    close(fd[0]), close(fd[1]);
    tcp_pair(fd);
    CHECK(shutdown(fd[0], SHUT_RD) == 0);
    show("tcp, has shut reading down", fd[0]);
    CHECK(shutdown(fd[0], SHUT_WR) == 0);
    show("tcp, has shut both down", fd[0]);
    close(fd[0]), close(fd[1]);
    tcp_pair(fd);
    reset(fd[1]);
    show("tcp, reset", fd[0]);
    char byte;
    SHOW(read(fd[0], &byte, 1));
    show("tcp, reset and reported", fd[0]);
    close(fd[0]);
    tcp_pair(fd);
    write_all(fd[1], "x", 1);
    reset(fd[1]);
    show("tcp, data and reset", fd[0]);
    SHOW(read(fd[0], &byte, 1));
    SHOW(read(fd[0], &byte, 1));
    close(fd[0]);
}

static void udp(void) {
    int a = udp_socket(), b = udp_socket();
    show("udp, new", a);
    struct sockaddr_in to = local_address(a);
    CHECK(sendto(b, "x", 1, 0, ADDR(to)) == 1);
    show("udp, with a datagram", a);
    CHECK(connect(a, ADDR(to)) == 0);
    CHECK(shutdown(a, SHUT_RD) == 0);
    show("udp, has shut reading down", a);
    CHECK(shutdown(a, SHUT_WR) == 0);
    show("udp, has shut both down", a);
    struct sockaddr_in nowhere = loopback(1);
    CHECK(connect(b, ADDR(nowhere)) == 0);
    CHECK(send(b, "x", 1, 0) == 1);
    show("udp, refused", b);
    close(a), close(b);
}

static void local(int kind, const char *name) {
    int fd[2];
    char what[64];
    for (int how = SHUT_RD; how <= SHUT_RDWR; how++) {
        NEED(socketpair(AF_UNIX, kind, 0, fd) == 0);
        snprintf(what, sizeof what, "%s, connected", name);
        show(what, fd[0]);
        write_all(fd[0], "x", 1);
        CHECK(shutdown(fd[0], how) == 0);
        snprintf(what, sizeof what, "%s, after shutdown %d", name, how);
        show(what, fd[0]);
        snprintf(what, sizeof what, "%s, the other end", name);
        show(what, fd[1]);
        close(fd[1]);
        snprintf(what, sizeof what, "%s, the other closed", name);
        show(what, fd[0]);
        close(fd[0]);
    }
    int s = socket(AF_UNIX, kind, 0);
    snprintf(what, sizeof what, "%s, new", name);
    show(what, s);
    close(s);
}

int main(void) {
    tcp();
    udp();
    local(SOCK_STREAM, "unix stream");
    local(SOCK_DGRAM, "unix datagram");
    local(SOCK_SEQPACKET, "unix packets");
    int p[2];
    NEED(pipe(p) == 0);
    show("pipe, reader", p[0]);
    show("pipe, writer", p[1]);
    write_all(p[1], "x", 1);
    show("pipe, reader with data", p[0]);
    close(p[1]);
    show("pipe, reader without writer", p[0]);
    NEED(pipe(p) == 0);
    close(p[0]);
    show("pipe, writer without reader", p[1]);
    DONE();
}
