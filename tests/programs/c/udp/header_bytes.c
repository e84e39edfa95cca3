// Control data of sendmsg sets the time to live and the type of service of one datagram (ip(7)), or its hop limit and traffic class
// (RFC 3542, sections 6.3 and 6.5).
#include "net.h"

static int receiver, sender, family;

static socklen_t local(struct sockaddr_storage *to, int port) {
    memset(to, 0, sizeof *to);
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)to;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (void *)to;
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    return sizeof *in6;
}

// Prints what came with the next datagram.
static void receive(void) {
    char byte, control[256];
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    NEED(recvmsg(receiver, &message, 0) == 1);
    printf("   ");
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        int value = 0;
        memcpy(&value, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) < sizeof value ? c->cmsg_len - CMSG_LEN(0) : sizeof value);
        printf(" %d.%d: %d", c->cmsg_level, c->cmsg_type, value);
    }
    puts("");
}

// Sends with one or two numbers of `size` bytes.
static void send_with(int level, int type, int value, size_t size, int other_type, int other) {
    struct sockaddr_storage to;
    char control[128] = "";
    struct iovec iov = {"x", 1};
    socklen_t length = sizeof to;
    NEED(getsockname(receiver, (void *)&to, &length) == 0);
    struct msghdr message = {.msg_name = &to, .msg_namelen = length, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
    message.msg_controllen = CMSG_SPACE(size) + (other_type ? CMSG_SPACE(sizeof other) : 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
    memcpy(CMSG_DATA(c), &value, size < sizeof value ? size : sizeof value);
    if (other_type) {
        c = (void *)(control + CMSG_SPACE(size));
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof other), .cmsg_level = level, .cmsg_type = other_type};
        memcpy(CMSG_DATA(c), &other, sizeof other);
    }
    errno = 0;
    long sent = sendmsg(sender, &message, 0);
    printf("%d.%d of %zu bytes, %d, and %d: %s\n", level, type, size, value, other, sent == 1 ? "sent" : t_errno(errno));
    if (sent == 1)
        receive();
}

static void set(int fd, int level, int name, int value) {
    NEED(setsockopt(fd, level, name, &value, sizeof value) == 0);
}

static void in_family(int which) {
    family = which;
    receiver = socket(family, SOCK_DGRAM, 0);
    sender = socket(family, SOCK_DGRAM, 0);
    struct sockaddr_storage here;
    NEED(receiver >= 0 && sender >= 0);
    socklen_t length = local(&here, 0);
    NEED(bind(receiver, (void *)&here, length) == 0);
}

int main(void) {
    puts("IPv4");
    in_family(AF_INET);
    set(receiver, IPPROTO_IP, IP_RECVTTL, 1);
    set(receiver, IPPROTO_IP, IP_RECVTOS, 1);
    set(sender, IPPROTO_IP, IP_TTL, 33);
    send_with(IPPROTO_IP, IP_TTL, 7, 4, IP_TOS, 0x10);
    send_with(IPPROTO_IP, IP_TOS, 0x18, 1, 0, 0);
    send_with(IPPROTO_IP, IP_TTL, 255, 4, 0, 0);
    send_with(IPPROTO_IP, IP_TTL, 0, 4, 0, 0);
    send_with(IPPROTO_IP, IP_TTL, 256, 4, 0, 0);
    send_with(IPPROTO_IP, IP_TTL, -1, 4, 0, 0);
    send_with(IPPROTO_IP, IP_TTL, 7, 1, 0, 0);
    send_with(IPPROTO_IP, IP_TOS, 256, 4, 0, 0);
    // Of the other family: nothing of this one's.
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, 9, 4, 0, 0);
    puts("IPv6");
    in_family(AF_INET6);
    set(receiver, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    set(receiver, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set(sender, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
    set(sender, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, 7, 4, IPV6_TCLASS, 0x10);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, -1, 4, 0, 0);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, 0, 4, 0, 0);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, 256, 4, 0, 0);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, -2, 4, 0, 0);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, 7, 1, 0, 0);
    send_with(IPPROTO_IPV6, IPV6_HOPLIMIT, 7, 5, 0, 0);
    send_with(IPPROTO_IPV6, IPV6_TCLASS, 256, 4, 0, 0);
    send_with(IPPROTO_IP, IP_TTL, 9, 4, 0, 0);
    DONE();
}
