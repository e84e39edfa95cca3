// Sockets for ping and raw sockets on the loopback (icmp(7), raw(7), RFC 3542): who receives what, filters, headers of the program's
// own, checksums, time to live, and errors that come back.
#include "net.h"
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <sched.h>
#include <sys/ioctl.h>

#define IDENT 0x4711

// On Linux in a network of its own, whose loopback is to be set up.
static void own_network(void) {
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return;
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(fd, SIOCSIFFLAGS, &r);
    close(fd);
}

static void ping_groups(const char *range) {
    int fd = open("/proc/sys/net/ipv4/ping_group_range", O_RDWR);
    NEED(fd >= 0);
    SHOW(write(fd, range, strlen(range)) == (ssize_t)strlen(range));
    char text[32] = {0};
    NEED(pread(fd, text, sizeof text - 1, 0) > 0);
    printf("ping_group_range %s", text);
    close(fd);
}

static uint16_t sum(const void *data, size_t length) {
    const uint8_t *at = data;
    uint32_t total = 0;
    for (size_t i = 0; i < length; i++)
        total += i % 2 ? at[i] : at[i] << 8;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return htons(~total);
}

static struct in6_addr localhost6 = IN6ADDR_LOOPBACK_INIT;

static void message(uint8_t *out, int type, int sequence, const char *text) {
    struct icmphdr h = {.type = type, .un.echo = {htons(IDENT), htons(sequence)}};
    memcpy(out, &h, 8);
    memcpy(out + 8, text, 8);
    h.checksum = sum(out, 16);
    memcpy(out, &h, 8);
}

static int stamped;

// Receives one message within a second and shows it, and what came along; `skip`: bytes of an IP header.
static void receive(const char *who, int fd, int flags) {
    uint8_t data[256], control[512];
    struct sockaddr_storage from = {0};
    struct iovec v = {data, sizeof data};
    struct msghdr m = {&from, sizeof from, &v, 1, control, sizeof control, 0};
    if (!(flags & MSG_DONTWAIT))
        events_of(fd, flags & MSG_ERRQUEUE ? 0 : POLLIN, 3000);
    ssize_t n = recvmsg(fd, &m, flags | MSG_DONTWAIT);
    if (n < 0) {
        printf("%s: %s\n", who, t_errno(errno));
        return;
    }
    char name[64] = "?";
    if (from.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&from)->sin_addr, name, sizeof name);
    else if (from.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&from)->sin6_addr, name, sizeof name);
    printf("%s: %zd bytes from %s%s, flags %x\n", who, n, name, ((struct sockaddr_in *)&from)->sin_port ? " with a port" : "",
           m.msg_flags);
    uint8_t *at = data;
    if (from.ss_family == AF_INET && n >= 20 && data[0] >> 4 == 4) {
        struct iphdr *ip = (struct iphdr *)data;
        printf("  header of %d, length %d, ttl %d, tos %d, protocol %d, sum %s\n", ip->ihl * 4, ntohs(ip->tot_len), ip->ttl, ip->tos,
               ip->protocol, sum(data, ip->ihl * 4) == 0 ? "right" : "wrong");
        at += ip->ihl * 4, n -= ip->ihl * 4;
    }
    if (n >= 16)
        printf("  type %d code %d sequence %d text %.8s, sum %s\n", at[0], at[1], at[6] << 8 | at[7], at + 8,
               from.ss_family == AF_INET && sum(at, n) == 0 ? "right" : "of v6 or not there");
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        // Linux begins to stamp a while after it is asked to.
        if (c->cmsg_level == SOL_SOCKET) {
            stamped |= c->cmsg_type == SCM_TIMESTAMPING && ((struct timespec *)CMSG_DATA(c))->tv_sec > 0;
            continue;
        }
        printf("  control %d/%d of %zu", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
        if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_TTL) || (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
            printf(": %d", *(int *)CMSG_DATA(c));
        if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) || (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
            struct sock_extended_err *e = (void *)CMSG_DATA(c);
            struct sockaddr *offender = SO_EE_OFFENDER(e);
            printf(": %s origin %d type %d code %d info %d, offender's family %d", t_errno(e->ee_errno), e->ee_origin, e->ee_type,
                   e->ee_code, e->ee_info, offender->sa_family);
        }
        puts("");
    }
}

static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

static int get(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) == 0 ? value : -errno;
}

static void pings(void) {
    puts("ping");
    ping_groups("1 0\n");
    SHOW(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    ping_groups("0 100\n");
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    NEED(fd >= 0);
    SHOW(socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMP));
    SHOW(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6));
    SHOW(get(fd, SOL_SOCKET, SO_TYPE));
    SHOW(get(fd, SOL_SOCKET, SO_PROTOCOL));
    struct sockaddr_in to = loopback(0), bound = {.sin_family = AF_INET, .sin_port = htons(IDENT)};
    SHOW(bind(fd, ADDR(bound)));
    SHOW(bind(fd, ADDR(bound)));
    int second = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    SHOW(bind(second, ADDR(bound)));
    printf("identifier %x\n", ntohs(local_address(fd).sin_port));
    SHOW(set(fd, SOL_IP, IP_RECVTTL, 1));
    SHOW(set(fd, SOL_IP, IP_HDRINCL, 1));
    uint8_t out[16];
    message(out, ICMP_ECHO, 1, "abcdefgh");
    out[4] = 0; // the kernel writes its own identifier, and the sum
    SHOW(sendto(fd, out, 7, 0, ADDR(to)));
    SHOW(sendto(fd, out, 16, 0, NULL, 0));
    SHOW(sendto(fd, out, 16, MSG_OOB, ADDR(to)));
    SHOW(sendto(fd, out, 16, 0, ADDR(to)));
    receive("reply", fd, MSG_PEEK);
    receive("reply", fd, 0);
    receive("none", fd, MSG_DONTWAIT);
    message(out, ICMP_ECHOREPLY, 1, "abcdefgh");
    SHOW(sendto(fd, out, 16, 0, ADDR(to)));
    message(out, ICMP_ECHO, 2, "connect_");
    SHOW(connect(second, ADDR(to)));
    printf("has an identifier: %d\n", local_address(second).sin_port != 0);
    SHOW(send(second, out, 16, 0));
    receive("connected", second, 0);
    receive("the other", fd, MSG_DONTWAIT);
    SHOW(set(fd, SOL_IP, IP_TTL, 0));
    SHOW(set(fd, SOL_IP, IP_TTL, 7));
    SHOW(get(fd, SOL_IP, IP_TTL));
    message(out, ICMP_ECHO, 3, "not_here");
    to.sin_addr.s_addr = htonl(0x08080808);
    SHOW(sendto(fd, out, 16, 0, (struct sockaddr *)&to, 4));
    SHOW(get(fd, SOL_SOCKET, SO_BROADCAST));
    close(fd), close(second);

    fd = socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
    NEED(fd >= 0);
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_addr = localhost6};
    SHOW(set(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1));
    message(out, ICMP6_ECHO_REQUEST, 4, "ipv6ipv6");
    SHOW(sendto(fd, out, 16, 0, ADDR(to6)));
    receive("v6", fd, 0);
    message(out, ICMP_ECHO, 4, "ipv6ipv6");
    SHOW(sendto(fd, out, 16, 0, ADDR(to6)));
    close(fd);
}

static void raw(void) {
    puts("raw");
    SHOW(socket(AF_INET, SOCK_RAW, 0));
    SHOW(socket(AF_INET, SOCK_RAW, -1));
    SHOW(socket(AF_INET, SOCK_RAW, 300));
    int all = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), some = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    NEED(all >= 0 && some >= 0);
    struct icmp_filter filter = {~(1u << ICMP_ECHOREPLY)};
    SHOW(setsockopt(some, SOL_RAW, ICMP_FILTER, &filter, sizeof filter));
    struct icmp_filter read_back = {0};
    socklen_t size = sizeof read_back;
    SHOW(getsockopt(some, SOL_RAW, ICMP_FILTER, &read_back, &size));
    printf("%x\n", read_back.data);
    SHOW(get(all, SOL_IP, IP_HDRINCL));
    struct sockaddr_in to = loopback(0);
    uint8_t out[16];
    message(out, ICMP_ECHO, 5, "to_every");
    SHOW(sendto(all, out, 16, 0, ADDR(to)));
    receive("all: request", all, 0);
    receive("all: reply", all, 0);
    receive("some: reply", some, 0);
    receive("some: no more", some, MSG_DONTWAIT);
    SHOW(set(some, SOL_IP, IP_TTL, 9));
    SHOW(set(some, SOL_IP, IP_TOS, 16));
    message(out, ICMP_ECHO, 6, "with_ttl");
    SHOW(sendto(some, out, 16, 0, ADDR(to)));
    receive("all: request", all, 0);
    receive("all: reply", all, 0);
    receive("some: reply", some, 0);

    // A filter that takes 24 bytes of what comes.
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 24)};
    struct sock_fprog program = {1, code};
    SHOW(setsockopt(some, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    message(out, ICMP_ECHO, 7, "filtered");
    SHOW(sendto(all, out, 16, 0, ADDR(to)));
    receive("some: cut", some, 0);
    SHOW(set(some, SOL_SOCKET, SO_DETACH_FILTER, 0));
    SHOW(set(some, SOL_SOCKET, SO_DETACH_FILTER, 0));
    close(all), close(some);

    puts("a protocol that nobody speaks");
    int fd = socket(AF_INET, SOCK_RAW, 143), icmp = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    SHOW(sendto(fd, "12345678abcdefgh", 16, 0, ADDR(to)));
    receive("own", fd, 0);
    receive("nothing by icmp", icmp, MSG_DONTWAIT);
    struct sockaddr_in here = loopback(0);
    SHOW(bind(fd, ADDR(here)));
    SHOW(connect(fd, ADDR(to)));
    SHOW(send(fd, "12345678connectd", 16, 0));
    receive("own", fd, 0);
    SHOW(send(fd, "odd", 3, 0));
    receive("short", fd, 0);
    close(fd);

    puts("with a header");
    fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    SHOW(get(fd, SOL_IP, IP_HDRINCL));
    uint8_t packet[36] = {0x45, 4, 0, 0, 0, 0, 0, 0, 33, IPPROTO_ICMP, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1};
    message(packet + 20, ICMP_ECHOREPLY, 8, "hdrincl_");
    SHOW(sendto(fd, packet, sizeof packet, 0, ADDR(to)));
    receive("by icmp", icmp, 0);
    packet[0] = 0x4f;
    SHOW(sendto(fd, packet, sizeof packet, 0, ADDR(to)));
    receive("receives nothing", fd, MSG_DONTWAIT);
    close(fd), close(icmp);

    puts("raw v6");
    fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    NEED(fd >= 0);
    struct icmp6_filter types;
    ICMP6_FILTER_SETBLOCKALL(&types);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &types);
    SHOW(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &types, sizeof types));
    SHOW(get(fd, SOL_IPV6, IPV6_CHECKSUM));
    SHOW(set(fd, SOL_IPV6, IPV6_CHECKSUM, 2));
    SHOW(set(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1));
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_addr = localhost6};
    message(out, ICMP6_ECHO_REQUEST, 9, "v6_types");
    SHOW(sendto(fd, out, 16, 0, ADDR(to6)));
    receive("v6", fd, 0);
    receive("v6: no more", fd, MSG_DONTWAIT);
    to6.sin6_port = htons(17);
    SHOW(sendto(fd, out, 16, 0, ADDR(to6)));
    to6.sin6_port = 0;
    close(fd);
    fd = socket(AF_INET6, SOCK_RAW, 143);
    SHOW(get(fd, SOL_IPV6, IPV6_CHECKSUM));
    SHOW(set(fd, SOL_IPV6, IPV6_CHECKSUM, 3));
    SHOW(set(fd, SOL_IPV6, IPV6_CHECKSUM, 4));
    SHOW(sendto(fd, "1234....abcdefgh", 16, 0, ADDR(to6)));
    receive("v6 of an own protocol", fd, 0);
    close(fd);
}

static void reports(void) {
    puts("reports");
    // Nobody listens there.
    int closed = udp_socket();
    struct sockaddr_in to = local_address(closed);
    close(closed);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    SHOW(get(fd, SOL_IP, IP_RECVERR));
    SHOW(set(fd, SOL_IP, IP_RECVERR, 1));
    SHOW(get(fd, SOL_IP, IP_RECVERR));
    SHOW(set(fd, SOL_IP, IP_RECVTTL, 1));
    receive("nothing yet", fd, MSG_ERRQUEUE | MSG_DONTWAIT);
    SHOW(sendto(fd, "12345678closed!!", 16, 0, ADDR(to)));
    SHOW(events_of(fd, POLLIN, 3000) & POLLERR);
    receive("plain", fd, MSG_DONTWAIT);
    SHOW(events_of(fd, POLLIN, 0));
    receive("report", fd, MSG_ERRQUEUE);
    SHOW(events_of(fd, POLLIN, 0));
    SHOW(sendto(fd, "again", 5, 0, ADDR(to)));
    SHOW(events_of(fd, 0, 3000));
    SHOW(sendto(fd, "fails", 5, 0, ADDR(to)));
    receive("report", fd, MSG_ERRQUEUE);
    receive("no more", fd, MSG_ERRQUEUE | MSG_DONTWAIT);
    SHOW(set(fd, SOL_IP, IP_RECVERR, 0));
    SHOW(sendto(fd, "unheard", 7, 0, ADDR(to)));
    SHOW(events_of(fd, 0, 0));
    close(fd);

    fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_addr = localhost6, .sin6_port = to.sin_port};
    SHOW(set(fd, SOL_IPV6, IPV6_RECVERR, 1));
    SHOW(sendto(fd, "12345678closed6!", 16, 0, ADDR(to6)));
    SHOW(events_of(fd, 0, 3000));
    receive("report", fd, MSG_ERRQUEUE);
    close(fd);

    puts("what came along");
    fd = udp_socket();
    to = local_address(fd);
    SHOW(set(fd, SOL_IP, IP_RECVTTL, 1));
    SHOW(set(fd, SOL_IP, IP_RECVTOS, 1));
    SHOW(set(fd, SOL_IP, IP_RECVORIGDSTADDR, 1));
    SHOW(get(fd, SOL_IP, IP_RECVORIGDSTADDR));
    SHOW(set(fd, SOL_SOCKET, SO_TIMESTAMPING, 1 << 3 | 1 << 4));
    SHOW(get(fd, SOL_SOCKET, SO_TIMESTAMPING));
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    SHOW(set(s, SOL_IP, IP_TTL, 5));
    SHOW(sendto(s, "ttl", 3, 0, ADDR(to)));
    receive("with ttl", fd, 0);
    SHOW(set(fd, SOL_IP, IP_RECVTTL, 0));
    SHOW(set(fd, SOL_IP, IP_RECVTOS, 0));
    SHOW(set(fd, SOL_IP, IP_RECVORIGDSTADDR, 0));
    uint8_t text[8], control[256];
    while (!stamped) {
        struct iovec v = {text, sizeof text};
        struct msghdr m = {NULL, 0, &v, 1, control, sizeof control, 0};
        NEED(sendto(s, "ttl", 3, 0, ADDR(to)) == 3 && recvmsg(fd, &m, 0) == 3);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        stamped = c && c->cmsg_type == SCM_TIMESTAMPING && c->cmsg_len == CMSG_LEN(3 * sizeof(struct timespec));
    }
    puts("stamped");
    close(s), close(fd);
}

int main(void) {
    own_network();
    pings();
    raw();
    reports();
    return t_failures != 0;
}
