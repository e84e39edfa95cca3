// UDP-Lite (udplite(7), RFC 3828): datagrams beside those of UDP, with checksums that cover what programs ask for.
#include "net.h"
#include <poll.h>

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif
enum { SEND = 10, RECEIVE = 11 };

static int number(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) == 0 ? value : -errno;
}

static int ask(int fd, int name, int value) { return setsockopt(fd, IPPROTO_UDPLITE, name, &value, sizeof value); }

static bool is_ready(int fd) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    return poll(&poll_fd, 1, 0) == 1;
}

static void in_family(int family) {
    struct sockaddr_storage at = {0};
    socklen_t length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (family == AF_INET)
        *(struct sockaddr_in *)&at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    else
        *(struct sockaddr_in6 *)&at = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int server = socket(family, SOCK_DGRAM, IPPROTO_UDPLITE), client = socket(family, SOCK_DGRAM, IPPROTO_UDPLITE);
    NEED(server >= 0 && client >= 0);
    SHOW(number(server, SOL_SOCKET, SO_PROTOCOL));
    SHOW(number(server, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
    NEED(bind(server, (void *)&at, length) == 0 && getsockname(server, (void *)&at, &length) == 0);
    // The ports are not those of UDP.
    int udp = socket(family, SOCK_DGRAM, 0), other = socket(family, SOCK_DGRAM, 0);
    NEED(udp >= 0 && other >= 0);
    SHOW(bind(udp, (void *)&at, length));
    SHOW(bind(client, (void *)&at, length));
    NEED(connect(client, (void *)&at, length) == 0);
    SHOW(send(client, "hello", 5, 0));
    char text[2000];
    SHOW(recv(server, text, sizeof text, 0));
    SHOW(memcmp(text, "hello", 5));
    SHOW(is_ready(udp));
    NEED(sendto(other, "udp", 3, 0, (void *)&at, length) == 3);
    SHOW(recv(udp, text, sizeof text, 0));
    SHOW(is_ready(server));
    // A partial checksum: what is asked for is the header at least.
    SHOW(number(client, IPPROTO_UDPLITE, SEND));
    SHOW(ask(client, SEND, 3));
    SHOW(number(client, IPPROTO_UDPLITE, SEND));
    SHOW(number(client, IPPROTO_UDP, SEND));
    SHOW(ask(client, SEND, 70000));
    SHOW(number(client, IPPROTO_UDPLITE, SEND));
    static const int covers[] = {0, 8, 9, 13, 20, 1007, 1008, 1009, 5000};
    for (unsigned i = 0; i < sizeof covers / sizeof *covers; i++) {
        memset(text, 'a' + (int)i, 1000);
        NEED(ask(client, SEND, covers[i]) == 0 && send(client, text, 1000, 0) == 1000);
        NEED(recv(server, text, sizeof text, 0) == 1000 && text[0] == text[999] && text[0] == 'a' + (int)i);
    }
    // Of which less is covered than the receiver wants is dropped.
    NEED(ask(client, SEND, 20) == 0 && ask(server, RECEIVE, 21) == 0);
    SHOW(number(server, IPPROTO_UDPLITE, RECEIVE));
    SHOW(send(client, "0123456789abcdefghij", 20, 0));
    SHOW(is_ready(server));
    NEED(ask(server, RECEIVE, 20) == 0);
    SHOW(send(client, "0123456789abcdefghij", 20, 0));
    SHOW(is_ready(server));
    SHOW(recv(server, text, sizeof text, 0));
    NEED(ask(server, RECEIVE, 0) == 0);
    SHOW(send(client, "0123456789abcdefghij", 20, 0));
    SHOW(is_ready(server));
    NEED(ask(client, SEND, 0) == 0);
    SHOW(send(client, "0123456789abcdefghij", 20, 0));
    SHOW(is_ready(server));
    // Not of UDP.
    SHOW(ask(udp, SEND, 8));
    SHOW(number(udp, IPPROTO_UDPLITE, SEND));
    // A port that nothing has.
    close(server);
    SHOW(send(client, "x", 1, 0));
    SHOW(recv(client, text, sizeof text, 0));
    close(client), close(udp), close(other);
}

int main(void) {
    in_family(AF_INET);
    in_family(AF_INET6);
    SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDPLITE));
    DONE();
}
