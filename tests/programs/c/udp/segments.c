// UDP_SEGMENT cuts what is sent into datagrams of one size, for the socket or for one message; SO_TIMESTAMP and SO_TIMESTAMPNS
// tell when a datagram came, IPV6_RECVPKTINFO where to.
#include "t.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static int bound(int family, struct sockaddr_storage *at) {
    int fd = socket(family, SOCK_DGRAM, 0);
    socklen_t len = sizeof *at;
    memset(at, 0, sizeof *at);
    at->ss_family = family;
    if (family == AF_INET)
        ((struct sockaddr_in *)at)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        NEED(inet_pton(AF_INET6, "::ffff:127.0.0.1", &((struct sockaddr_in6 *)at)->sin6_addr) == 1);
    NEED(fd >= 0 && bind(fd, (struct sockaddr *)at, family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)) == 0);
    NEED(getsockname(fd, (struct sockaddr *)at, &len) == 0);
    return fd;
}

static void show_sizes(int fd) {
    static char bytes[65536];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0)
        printf(" %zd", n);
    puts("");
}

static void segments(void) {
    static char bytes[9000];
    struct sockaddr_storage at;
    int receiver = bound(AF_INET, &at), sender = socket(AF_INET, SOCK_DGRAM, 0), size = 1000;
    NEED(connect(sender, (struct sockaddr *)&at, sizeof(struct sockaddr_in)) == 0);
    SHOW(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size));
    SHOW(send(sender, bytes, 3500, 0));
    show_sizes(receiver);
    SHOW(send(sender, bytes, 1000, 0));
    show_sizes(receiver);
    SHOW(send(sender, bytes, 2000, 0));
    show_sizes(receiver);
    size = 100;
    SHOW(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size));
    socklen_t len = sizeof size;
    size = 0;
    SHOW(getsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &size, &len));
    SHOW(size);
    // Nothing is cut, but for one message.
    size = 0;
    SHOW(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size));
    char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec piece = {bytes, 700};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = IPPROTO_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    *(uint16_t *)CMSG_DATA(header) = 300;
    SHOW(sendmsg(sender, &message, 0));
    show_sizes(receiver);
    size = 70000;
    SHOW(setsockopt(sender, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size));
}

static void show_control(int fd) {
    char bytes[16], control[256];
    struct iovec piece = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    NEED(recvmsg(fd, &message, 0) >= 0);
    time_t now = time(NULL);
    for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
        long seconds = *(long *)CMSG_DATA(one);
        if (one->cmsg_level == SOL_SOCKET)
            printf("time as type %d of %zu bytes, now %d\n", one->cmsg_type, (size_t)one->cmsg_len, seconds <= now && seconds > now - 100);
        struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(one);
        char text[INET6_ADDRSTRLEN];
        if (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_PKTINFO)
            printf("to %s, over an interface %d\n", inet_ntop(AF_INET6, &info->ipi6_addr, text, sizeof text), info->ipi6_ifindex > 0);
    }
    printf("control of %zu bytes\n", (size_t)message.msg_controllen);
}

static void arrivals(void) {
    struct sockaddr_storage at;
    int receiver = bound(AF_INET, &at), sender = socket(AF_INET, SOCK_DGRAM, 0), on = 1, is_on = 0;
    socklen_t len = sizeof is_on;
    SHOW(setsockopt(receiver, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
    NEED(sendto(sender, "x", 1, 0, (struct sockaddr *)&at, sizeof(struct sockaddr_in)) == 1);
    show_control(receiver);
    SHOW(setsockopt(receiver, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on));
    NEED(sendto(sender, "x", 1, 0, (struct sockaddr *)&at, sizeof(struct sockaddr_in)) == 1);
    show_control(receiver);
    SHOW(getsockopt(receiver, SOL_SOCKET, SO_TIMESTAMP, &is_on, &len));
    SHOW(is_on);
    SHOW(getsockopt(receiver, SOL_SOCKET, SO_TIMESTAMPNS, &is_on, &len));
    SHOW(is_on);
    on = 0;
    SHOW(setsockopt(receiver, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on));
    NEED(sendto(sender, "x", 1, 0, (struct sockaddr *)&at, sizeof(struct sockaddr_in)) == 1);
    show_control(receiver);
}

static void ways(void) {
    struct sockaddr_storage at;
    int receiver = bound(AF_INET6, &at), sender = socket(AF_INET6, SOCK_DGRAM, 0), on = 1;
    SHOW(setsockopt(receiver, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on));
    NEED(sendto(sender, "x", 1, 0, (struct sockaddr *)&at, sizeof(struct sockaddr_in6)) == 1);
    show_control(receiver);
}

int main(void) {
    segments();
    arrivals();
    ways();
    DONE();
}
