// Options of ipv6(7) on AF_INET6 sockets: their values before and after they are set, what is refused, and when; groups on the
// loopback; /proc/net/if_inet6 and netlink's addresses of the loopback.
#include "net.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static void try_option(int fd, const char *name, int option, const int *values, int count) {
    int value = -99;
    socklen_t length = sizeof value;
    printf("%s:", name);
    if (getsockopt(fd, IPPROTO_IPV6, option, &value, &length) == 0)
        printf(" first %d", value);
    else
        printf(" first %s", t_errno(errno));
    for (int i = 0; i < count; i++) {
        if (setsockopt(fd, IPPROTO_IPV6, option, &values[i], sizeof values[i]) < 0) {
            printf(", %d %s", values[i], t_errno(errno));
            continue;
        }
        length = sizeof value;
        NEED(getsockopt(fd, IPPROTO_IPV6, option, &value, &length) == 0);
        printf(", %d gives %d", values[i], value);
    }
    puts("");
}

static void options(int type) {
    static const struct { const char *name; int option; } all[] = {
        {"V6ONLY", IPV6_V6ONLY}, {"UNICAST_HOPS", IPV6_UNICAST_HOPS}, {"TCLASS", IPV6_TCLASS},
        {"MULTICAST_HOPS", IPV6_MULTICAST_HOPS}, {"MULTICAST_LOOP", IPV6_MULTICAST_LOOP}};
    static const int values[] = {1, 0, -1, 63, 255, 256, -2};
    int fd = socket(AF_INET6, type, 0);
    NEED(fd >= 0);
    printf("%s\n", type == SOCK_STREAM ? "tcp" : "udp");
    for (int i = 0; i < 3 + 2 * (type == SOCK_DGRAM); i++)
        try_option(fd, all[i].name, all[i].option, values, i == 0 || i == 4 ? 2 : 7);
    // The greatest packet: what may be set, and that of the route to the peer.
    for (int mtu = 1279; mtu <= 1281; mtu++)
        SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof mtu));
    static const int mtus[] = {0, 1, -1, 65535, 65536};
    for (int i = 0; i < 5; i++)
        SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtus[i], sizeof mtus[i]));
    try_option(fd, "MTU without a peer", IPV6_MTU, NULL, 0);
    // What a socket is bound to is decided once.
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    NEED(bind(fd, ADDR(any)) == 0);
    int on = 1;
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
    char byte = 1;
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &byte, sizeof byte));
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &byte, sizeof byte));
    struct ipv6_mreq request = {.ipv6mr_interface = 1};
    NEED(inet_pton(AF_INET6, "ff02::123", &request.ipv6mr_multiaddr) == 1);
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request));
    // Of a stream's type of service two bits belong to TCP (RFC 3168).
    int service = 63;
    socklen_t length = sizeof service;
    SHOW(setsockopt(fd, IPPROTO_IP, IP_TOS, &service, sizeof service));
    SHOW(getsockopt(fd, IPPROTO_IP, IP_TOS, &service, &length));
    SHOW(service);
    close(fd);
}

static void groups(void) {
    int member = socket(AF_INET6, SOCK_DGRAM, 0), sender = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    socklen_t length = sizeof a;
    NEED(bind(member, ADDR(a)) == 0 && getsockname(member, (struct sockaddr *)&a, &length) == 0);
    struct ipv6_mreq request = {.ipv6mr_interface = 1};
    NEED(inet_pton(AF_INET6, "ff02::123", &request.ipv6mr_multiaddr) == 1);
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, 19));
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request));
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request));
    request.ipv6mr_interface = 99;
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request));
    int loopback_index = 1, none = 99;
    SHOW(setsockopt(sender, IPPROTO_IPV6, IPV6_MULTICAST_IF, &none, sizeof none));
    SHOW(setsockopt(sender, IPPROTO_IPV6, IPV6_MULTICAST_IF, &loopback_index, sizeof loopback_index));
    a.sin6_addr = request.ipv6mr_multiaddr;
    // No route leads to groups over the loopback.
    SHOW(sendto(sender, "to all", 6, 0, ADDR(a)));
    request.ipv6mr_interface = 1;
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &request, sizeof request));
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &request, sizeof request));
    inet_pton(AF_INET6, "::1", &request.ipv6mr_multiaddr);
    SHOW(setsockopt(member, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request));
}

// The lines of the loopback alone: others depend on the machine.
static void lists(void) {
    FILE *file = fopen("/proc/net/if_inet6", "r");
    NEED(file != NULL);
    char line[256];
    while (fgets(line, sizeof line, file))
        if (strstr(line, " lo\n"))
            fputs(line, stdout);
    fclose(file);
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    NEED(fd >= 0);
    struct { struct nlmsghdr header; struct ifaddrmsg body; } request = {
        {sizeof request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {.ifa_family = AF_INET6}};
    NEED(send(fd, &request, sizeof request, 0) == sizeof request);
    for (int done = 0; !done;) {
        static char buffer[65536];
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        NEED(n > 0);
        unsigned left = (unsigned)n;
        for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            done |= m->nlmsg_type == NLMSG_DONE;
            struct ifaddrmsg *a = NLMSG_DATA(m);
            if (m->nlmsg_type != RTM_NEWADDR || a->ifa_index != 1)
                continue;
            printf("family %d, prefix %d, flags %#x, scope %d, whole words: %d\n", a->ifa_family, a->ifa_prefixlen,
                   a->ifa_flags, a->ifa_scope, m->nlmsg_len % 4 == 0);
            int rest = (int)IFA_PAYLOAD(m);
            for (struct rtattr *r = IFA_RTA(a); RTA_OK(r, rest); r = RTA_NEXT(r, rest))
                if (r->rta_type == IFA_ADDRESS)
                    SHOW(IN6_IS_ADDR_LOOPBACK((struct in6_addr *)RTA_DATA(r)));
        }
    }
}

int main(void) {
    options(SOCK_STREAM);
    options(SOCK_DGRAM);
    groups();
    lists();
    return 0;
}
