// SO_BINDTODEVICE (socket(7)): interfaces that there are and others, and what it takes to change it; IP_MTU with a peer and without.
#include "net.h"
#include <net/if.h>

static void bound(int fd) {
    char name[IFNAMSIZ] = "";
    socklen_t length = sizeof name;
    NEED(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length) == 0);
    printf("bound to \"%s\", %u bytes\n", name, length);
}

int main(void) {
    if (getuid() == 0)
        NEED(setuid(1000) == 0);
    int types[] = {SOCK_DGRAM, SOCK_STREAM};
    for (int i = 0; i < 2; i++) {
        int fd = socket(AF_INET, types[i], 0);
        NEED(fd >= 0);
        bound(fd);
        SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "none0", 5));
        SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo and more of it", 17));
        SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
        bound(fd);
        SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo\0more", 7));
        bound(fd);
        // What is bound takes a right to change.
        SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
        bound(fd);
        NEED(close(fd) == 0);
    }
    int fd = udp_socket(), mtu = 0;
    socklen_t length = sizeof mtu;
    SHOW(getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &length));
    struct sockaddr_in a = local_address(fd);
    NEED(connect(fd, ADDR(a)) == 0);
    SHOW(getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &length));
    SHOW(mtu);
    int six = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 b = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(9)};
    NEED(six >= 0 && connect(six, ADDR(b)) == 0);
    SHOW(getsockopt(six, IPPROTO_IPV6, IPV6_MTU, &mtu, &length));
    SHOW(mtu);
    SHOW(getsockopt(six, IPPROTO_IP, IP_MTU, &mtu, &length));
    SHOW(mtu);
    int pair[2];
    tcp_pair(pair);
    SHOW(getsockopt(pair[0], IPPROTO_IP, IP_MTU, &mtu, &length));
    SHOW(mtu);
    DONE();
}
