// What sockets make of options that they don't have, that are for another kind of socket, or that need a right.
#include "t.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#ifndef SO_TXTIME
#define SO_TXTIME 61
#endif

static const struct {
    const char *name;
    int level, option;
} options[] = {
    {"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO},
    {"IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL},
    {"IP_FREEBIND", IPPROTO_IP, IP_FREEBIND},
    {"IPV6_RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO},
    {"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP},
    {"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS},
    {"SO_TXTIME", SOL_SOCKET, SO_TXTIME},
    {"TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT},
    {"TCP_ULP", IPPROTO_TCP, TCP_ULP},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT},
};

static void try_all(const char *name, int family, int kind) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int on = 1, fd = socket(family, kind, 0);
        NEED(fd >= 0);
        int result = setsockopt(fd, options[i].level, options[i].option, &on, sizeof on);
        printf("%s %s: %s\n", name, options[i].name, result == 0 ? "set" : t_errno(errno));
        int value = -1;
        socklen_t len = sizeof value;
        if (result == 0) {
            NEED(getsockopt(fd, options[i].level, options[i].option, &value, &len) == 0);
            printf("%s %s: %d\n", name, options[i].name, value);
        }
        close(fd);
    }
}

int main(void) {
    try_all("tcp", AF_INET, SOCK_STREAM);
    try_all("udp", AF_INET, SOCK_DGRAM);
    try_all("tcp6", AF_INET6, SOCK_STREAM);
    try_all("udp6", AF_INET6, SOCK_DGRAM);
    int fd = socket(AF_INET, SOCK_STREAM, 0), value = 2;
    struct ip_mreq group = {{htonl(0xe00000fb)}, {0}};
    SHOW(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == -1 && errno == EPROTO);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, sizeof value));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "no-such", 7));
    DONE();
}
