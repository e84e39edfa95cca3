// AF_INET6 sockets on the loopback: connections and datagrams to ::1, one socket for both families, IPV6_V6ONLY, addresses in use
// across families, and which addresses bind(2), connect(2) and sendto(2) take.
// machines: all
#include "net.h"

typedef struct sockaddr_in6 Address;

static Address at(const char *text, in_port_t port) {
    Address a = {.sin6_family = AF_INET6, .sin6_port = port};
    NEED(inet_pton(AF_INET6, text, &a.sin6_addr) == 1);
    return a;
}

static Address name_of(int fd, int (*call)(int, struct sockaddr *, socklen_t *)) {
    Address a = {0};
    socklen_t length = sizeof a;
    NEED(call(fd, (struct sockaddr *)&a, &length) == 0 && length == sizeof a);
    return a;
}

// An address without its port, which differs in each run.
static void show_address(const char *what, Address a) {
    char text[INET6_ADDRSTRLEN];
    NEED(inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text) != NULL);
    printf("%s: family %d, %s, port %s, flow %u, scope %u\n", what, a.sin6_family, text, a.sin6_port ? "some" : "0",
           a.sin6_flowinfo, a.sin6_scope_id);
}

static int new_socket(int domain, int type, int only) {
    int fd = socket(domain, type, 0);
    NEED(fd >= 0);
    if (only >= 0)
        NEED(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) == 0);
    return fd;
}

static int bound(int domain, int type, int only, const char *text, in_port_t port) {
    int fd = new_socket(domain, type, only);
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = port};
    Address a6 = {0};
    if (domain == AF_INET6)
        a6 = at(text, port);
    else
        NEED(inet_pton(AF_INET, text, &a4.sin_addr) == 1);
    int result = domain == AF_INET6 ? bind(fd, ADDR(a6)) : bind(fd, ADDR(a4));
    if (result == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void say(int from, int to, const char *word) {
    char got[32] = {0};
    NEED(write(from, word, strlen(word)) == (ssize_t)strlen(word));
    ssize_t n = read(to, got, sizeof got - 1);
    printf("%s arrived: %d\n", word, n == (ssize_t)strlen(word) && strcmp(got, word) == 0);
}

static void streams(void) {
    int listener = new_socket(AF_INET6, SOCK_STREAM, -1);
    show_address("fresh", name_of(listener, getsockname));
    Address any = at("::", 0);
    NEED(bind(listener, ADDR(any)) == 0 && listen(listener, 8) == 0);
    in_port_t port = name_of(listener, getsockname).sin6_port;
    show_address("listener", name_of(listener, getsockname));
    // The listener receives both families.
    static const char *const targets[] = {"::1", "::ffff:127.0.0.1", "::", "::ffff:0.0.0.0"};
    for (int i = 0; i < 5; i++) {
        int client;
        if (i < 4) {
            client = new_socket(AF_INET6, SOCK_STREAM, -1);
            Address to = at(targets[i], port);
            printf("to %s\n", targets[i]);
            NEED(connect(client, ADDR(to)) == 0);
            show_address("client", name_of(client, getsockname));
            show_address("its peer", name_of(client, getpeername));
        } else {
            puts("to 127.0.0.1 by AF_INET");
            client = new_socket(AF_INET, SOCK_STREAM, -1);
            struct sockaddr_in to = loopback(ntohs(port));
            NEED(connect(client, ADDR(to)) == 0);
        }
        Address peer = {0};
        socklen_t length = sizeof peer;
        int server = accept(listener, (struct sockaddr *)&peer, &length);
        NEED(server >= 0);
        printf("length %d\n", (int)length);
        show_address("accepted", peer);
        show_address("server", name_of(server, getsockname));
        say(client, server, "question");
        say(server, client, "answer");
        close(server), close(client);
    }
    close(listener);
    // For IPv6 alone.
    listener = bound(AF_INET6, SOCK_STREAM, 1, "::", 0);
    NEED(listen(listener, 8) == 0);
    port = name_of(listener, getsockname).sin6_port;
    struct sockaddr_in to4 = loopback(ntohs(port));
    SHOW(connect(new_socket(AF_INET, SOCK_STREAM, -1), ADDR(to4)));
    Address to6 = at("::1", port);
    SHOW(connect(new_socket(AF_INET6, SOCK_STREAM, 1), ADDR(to6)));
    Address mapped = at("::ffff:127.0.0.1", port);
    SHOW(connect(new_socket(AF_INET6, SOCK_STREAM, 1), ADDR(mapped)));
    close(listener);
    SHOW(connect(new_socket(AF_INET6, SOCK_STREAM, -1), ADDR(to6)));
}

// Which of two sockets may share a port.
static void in_use(int type) {
    static const struct { int domain, only; const char *text; } kinds[] = {
        {AF_INET, -1, "0.0.0.0"}, {AF_INET, -1, "127.0.0.1"}, {AF_INET6, 0, "::"}, {AF_INET6, 1, "::"},
        {AF_INET6, 0, "::1"}, {AF_INET6, 0, "::ffff:127.0.0.1"}};
    for (int first = 0; first < 6; first++) {
        printf("%s %s%s:", type == SOCK_STREAM ? "tcp" : "udp", kinds[first].text, kinds[first].only == 1 ? " alone" : "");
        for (int second = 0; second < 6; second++) {
            int a = bound(kinds[first].domain, type, kinds[first].only, kinds[first].text, 0);
            NEED(a >= 0);
            struct sockaddr_storage name;
            socklen_t length = sizeof name;
            NEED(getsockname(a, (struct sockaddr *)&name, &length) == 0);
            in_port_t port = ((struct sockaddr_in *)&name)->sin_port;
            int b = bound(kinds[second].domain, type, kinds[second].only, kinds[second].text, port);
            printf(" %s", b >= 0 ? "free" : t_errno(errno));
            if (b >= 0)
                close(b);
            close(a);
        }
        puts("");
    }
}

static void datagrams(void) {
    int server = bound(AF_INET6, SOCK_DGRAM, 0, "::", 0);
    NEED(server >= 0);
    in_port_t port = name_of(server, getsockname).sin6_port;
    int client6 = new_socket(AF_INET6, SOCK_DGRAM, -1), client4 = new_socket(AF_INET, SOCK_DGRAM, -1);
    int on = 1;
    SHOW(setsockopt(server, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on));
    for (int i = 0; i < 3; i++) {
        Address to6 = at(i == 0 ? "::1" : "::ffff:127.0.0.1", port);
        struct sockaddr_in to4 = loopback(ntohs(port));
        NEED((i < 2 ? sendto(client6, "datagram", 8, 0, ADDR(to6)) : sendto(client4, "datagram", 8, 0, ADDR(to4))) == 8);
        char data[16], control[256];
        Address from = {0};
        struct iovec io = {data, sizeof data};
        struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &io, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = sizeof control};
        SHOW(recvmsg(server, &m, 0));
        show_address("from", from);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
                // struct in6_pktinfo: an address and the number of an interface.
                Address to = {.sin6_family = AF_INET6};
                unsigned interface;
                memcpy(&to.sin6_addr, CMSG_DATA(c), 16);
                memcpy(&interface, CMSG_DATA(c) + 16, sizeof interface);
                show_address("to", to);
                printf("by the loopback: %d\n", interface == 1);
            }
        SHOW(sendto(server, "reply", 5, 0, ADDR(from)));
        SHOW(recv(i < 2 ? client6 : client4, data, sizeof data, 0));
    }
    // A connected one hears of a port without a socket, in either family.
    for (int i = 0; i < 2; i++) {
        int gone = bound(AF_INET6, SOCK_DGRAM, 0, "::", 0), c = new_socket(AF_INET6, SOCK_DGRAM, -1);
        Address to = at(i ? "::1" : "::ffff:127.0.0.1", name_of(gone, getsockname).sin6_port);
        close(gone);
        SHOW(connect(c, ADDR(to)));
        show_address("connected", name_of(c, getsockname));
        SHOW(send(c, "x", 1, 0));
        char byte;
        SHOW(recv(c, &byte, 1, 0));
        struct sockaddr none = {.sa_family = AF_UNSPEC};
        SHOW(connect(c, &none, sizeof none));
        show_address("disconnected", name_of(c, getsockname));
        close(c);
    }
    // The greatest datagrams.
    static char big[65536];
    int sizes[] = {65507, 65508, 65527, 65528};
    for (int i = 0; i < 4; i++) {
        Address to6 = at("::1", port), to4 = at("::ffff:127.0.0.1", port);
        printf("%d bytes: ", sizes[i]);
        ssize_t v6 = sendto(client6, big, (size_t)sizes[i], 0, ADDR(to6));
        printf("%s ", v6 < 0 ? t_errno(errno) : "sent");
        ssize_t v4 = sendto(client6, big, (size_t)sizes[i], 0, ADDR(to4));
        printf("%s\n", v4 < 0 ? t_errno(errno) : "sent");
        while (recv(server, big, sizeof big, MSG_DONTWAIT) > 0)
            ;
    }
}

static void odd_addresses(void) {
    static const char *const texts[] = {"2001:db8::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1", "::1"};
    for (int i = 0; i < 5; i++) {
        printf("%s:", texts[i]);
        for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++)
            for (int only = 0; only < 2; only++) {
                // An address of a link that is not named can't be bound; nor can one of another host.
                int fd = bound(AF_INET6, type, only, texts[i], 0);
                printf(" %s", fd >= 0 ? "bound" : t_errno(errno));
                if (fd >= 0)
                    close(fd);
            }
        puts("");
    }
    Address a = at("::1", htons(9));
    int fd = new_socket(AF_INET6, SOCK_STREAM, -1);
    SHOW(bind(fd, (struct sockaddr *)&a, sizeof(struct sockaddr_in)));
    struct sockaddr_in v4 = loopback(9);
    SHOW(connect(fd, ADDR(v4)));
    Address multicast = at("ff02::1", htons(9)), unnamed = at("fe80::1", htons(9));
    SHOW(connect(fd, ADDR(unnamed)));
    multicast.sin6_scope_id = 1;
    SHOW(connect(fd, ADDR(multicast)));
    int four = new_socket(AF_INET, SOCK_STREAM, -1);
    SHOW(connect(four, ADDR(a)));
    int on = 1;
    SHOW(setsockopt(four, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
}

int main(void) {
    streams();
    in_use(SOCK_STREAM);
    in_use(SOCK_DGRAM);
    datagrams();
    odd_addresses();
    return 0;
}
