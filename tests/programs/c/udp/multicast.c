// Multicast groups on the loopback (ip(7)): who receives, memberships and their errors, and the options that go with them.
// machines: all
#include "net.h"

static int member_socket(uint16_t *port) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    NEED(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = *port};
    NEED(bind(fd, ADDR(a)) == 0);
    *port = local_address(fd).sin_port;
    return fd;
}

static struct ip_mreq group(const char *name) {
    struct ip_mreq request;
    NEED(inet_aton(name, &request.imr_multiaddr) && inet_aton("127.0.0.1", &request.imr_interface));
    return request;
}

static int join(int fd, const char *name) {
    struct ip_mreq request = group(name);
    return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
}

static int leave(int fd, const char *name) {
    struct ip_mreq request = group(name);
    return setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request);
}

static void receive(const char *who, int fd) {
    char text[16] = {0};
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    int got = recvfrom(fd, text, 15, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    printf("%s: %s%s%s\n", who, got < 0 ? strerrorname_np(errno) : text, got < 0 ? "" : " from ",
           got < 0 ? "" : inet_ntoa(from.sin_addr));
}

static int option(int fd, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, IPPROTO_IP, name, &value, &size) == 0 ? value : -errno;
}

static int set(int fd, int name, int value) { return setsockopt(fd, IPPROTO_IP, name, &value, sizeof value); }

// How many sockets of the loopback are in a group, as /proc/net/igmp or igmp6 has it; -1: the group is not there.
static void listed(const char *file, const char *group) {
    char line[256];
    int index = 0, users = -1, on_loopback = 0;
    FILE *f = fopen(file, "r");
    NEED(f);
    while (fgets(line, sizeof line, f)) {
        char *at = strstr(line, group);
        if (line[0] != '\t')
            on_loopback = sscanf(line, "%d", &index) == 1 && index == 1;
        if (on_loopback && at)
            sscanf(at + strlen(group), "%d", &users);
    }
    fclose(f);
    printf("%s in %s: %d\n", group, file, users);
}

// The groups that the host is in, by its own and by what sockets have joined.
static void lists(void) {
    int four[2], six = socket(AF_INET6, SOCK_DGRAM, 0);
    listed("/proc/net/igmp", "010000E0");
    listed("/proc/net/igmp6", "ff020000000000000000000000000001");
    listed("/proc/net/igmp6", "ff010000000000000000000000000001");
    for (int n = 0; n < 2; n++) {
        four[n] = socket(AF_INET, SOCK_DGRAM, 0);
        SHOW(join(four[n], "239.1.2.77"));
        listed("/proc/net/igmp", "4D0201EF");
    }
    struct ipv6_mreq request = {.ipv6mr_interface = 1};
    NEED(inet_pton(AF_INET6, "ff15::7:77", &request.ipv6mr_multiaddr) == 1);
    SHOW(setsockopt(six, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request));
    listed("/proc/net/igmp6", "ff150000000000000000000000070077");
    for (int n = 0; n < 2; n++) {
        NEED(close(four[n]) == 0);
        listed("/proc/net/igmp", "4D0201EF");
    }
    NEED(close(six) == 0);
    listed("/proc/net/igmp6", "ff150000000000000000000000070077");
}

int main(void) {
    lists();
    uint16_t port = 0;
    int a = member_socket(&port), b = member_socket(&port), other = member_socket(&port), s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port};
    NEED(inet_aton("239.255.7.9", &to.sin_addr));

    SHOW(option(s, IP_MULTICAST_TTL));
    SHOW(option(s, IP_MULTICAST_LOOP));
    SHOW(option(s, IP_MULTICAST_ALL));
    struct in_addr interface;
    socklen_t size = sizeof interface;
    SHOW(getsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &interface, &size));
    puts(inet_ntoa(interface));
    NEED(inet_aton("127.0.0.1", &interface));
    SHOW(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface));
    NEED(getsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &interface, &size) == 0);
    puts(inet_ntoa(interface));

    // Before anybody has joined, the host does not receive the group.
    SHOW(sendto(s, "zero", 4, 0, ADDR(to)));
    receive("a", a);
    SHOW(join(a, "239.255.7.9"));
    SHOW(sendto(s, "one", 3, 0, ADDR(to)));
    receive("a", a);
    receive("a", a);
    // The others are bound to the port, and want what any socket has joined (IP_MULTICAST_ALL).
    receive("b", b);
    SHOW(set(b, IP_MULTICAST_ALL, 0));
    SHOW(sendto(s, "two", 3, 0, ADDR(to)));
    receive("a", a);
    receive("b", b);
    SHOW(join(b, "239.255.7.9"));
    SHOW(leave(a, "239.255.7.9"));
    SHOW(set(a, IP_MULTICAST_ALL, 0));
    SHOW(set(s, IP_MULTICAST_LOOP, 0));
    SHOW(sendto(s, "three", 5, 0, ADDR(to)));
    receive("a", a);
    receive("b", b);
    // Another group: the membership of b does not count.
    struct sockaddr_in elsewhere = to;
    NEED(inet_aton("239.255.7.10", &elsewhere.sin_addr));
    SHOW(join(a, "239.255.7.10"));
    SHOW(sendto(s, "four", 4, 0, ADDR(elsewhere)));
    receive("a", a);
    receive("b", b);
    // A closed socket has left its groups.
    NEED(close(a) == 0);
    while (recv(other, (char[16]){0}, 16, MSG_DONTWAIT) >= 0)
        ;
    SHOW(sendto(s, "five", 4, 0, ADDR(elsewhere)));
    receive("other", other);

    // A socket that is bound to the group's own address receives nothing else.
    int exact = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    NEED(setsockopt(exact, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    SHOW(bind(exact, ADDR(to)));
    SHOW(sendto(s, "six", 3, 0, ADDR(to)));
    receive("exact", exact);
    struct sockaddr_in one = loopback(ntohs(port));
    SHOW(sendto(s, "seven", 5, 0, ADDR(one)));
    receive("exact", exact);

    // Which way a datagram came.
    int c = member_socket(&port);
    NEED(setsockopt(c, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 && join(c, "239.255.7.9") == 0);
    SHOW(sendto(s, "eight", 5, 0, ADDR(to)));
    char text[16], control[128];
    struct iovec in = {text, sizeof text};
    struct msghdr m = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SHOW(recvmsg(c, &m, 0));
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof info);
    printf("interface %d to %s", info.ipi_ifindex, inet_ntoa(info.ipi_addr));
    printf(" local %s\n", inet_ntoa(info.ipi_spec_dst));

    // Errors.
    SHOW(join(c, "239.255.7.9"));
    SHOW(join(c, "127.0.0.1"));
    SHOW(leave(c, "239.255.7.10"));
    struct ip_mreq request = group("239.255.7.11");
    SHOW(setsockopt(c, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, 7));
    NEED(inet_aton("192.0.2.1", &request.imr_interface));
    SHOW(setsockopt(c, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
    SHOW(setsockopt(c, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request));
    SHOW(setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &request.imr_interface, 4));
    SHOW(setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &request.imr_interface, 3));
    struct ip_mreqn by_index = {.imr_multiaddr = request.imr_multiaddr, .imr_ifindex = 1};
    SHOW(setsockopt(c, IPPROTO_IP, IP_ADD_MEMBERSHIP, &by_index, sizeof by_index));
    SHOW(join(c, "239.255.7.11"));
    by_index.imr_ifindex = 99;
    SHOW(setsockopt(c, IPPROTO_IP, IP_ADD_MEMBERSHIP, &by_index, sizeof by_index));
    SHOW(setsockopt(c, IPPROTO_IP, IP_MULTICAST_IF, &by_index, sizeof by_index));
    struct group_req wide = {.gr_interface = 1};
    struct sockaddr_in *address = (struct sockaddr_in *)&wide.gr_group;
    address->sin_family = AF_INET;
    NEED(inet_aton("239.255.7.12", &address->sin_addr));
    SHOW(setsockopt(c, IPPROTO_IP, MCAST_JOIN_GROUP, &wide, sizeof wide));
    SHOW(setsockopt(c, IPPROTO_IP, MCAST_LEAVE_GROUP, &wide, sizeof wide));
    SHOW(setsockopt(c, IPPROTO_IP, MCAST_LEAVE_GROUP, &wide, sizeof wide));
    SHOW(set(c, IP_MULTICAST_TTL, 256));
    SHOW(set(c, IP_MULTICAST_TTL, 0));
    SHOW(option(c, IP_MULTICAST_TTL));
    SHOW(set(c, IP_MULTICAST_TTL, -1));
    SHOW(option(c, IP_MULTICAST_TTL));
    SHOW(set(c, IP_MULTICAST_ALL, 2));
    SHOW(setsockopt(c, IPPROTO_IP, IP_MULTICAST_LOOP, &(char){0}, 1));
    SHOW(option(c, IP_MULTICAST_LOOP));
    // A socket joins 20 groups at most (net.ipv4.igmp_max_memberships).
    char name[32];
    int joined = 0, d = member_socket(&port);
    for (int i = 1; i <= 30; i++) {
        snprintf(name, sizeof name, "239.255.8.%d", i);
        joined += join(d, name) == 0;
    }
    SHOW(joined);
    SHOW(join(d, "239.255.8.99"));

    int stream = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(join(stream, "239.255.7.9"));
    SHOW(connect(stream, ADDR(to)));
    DONE();
}
