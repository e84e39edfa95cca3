// Interfaces whose other end is a program (Linux's Documentation/networking/tuntap.rst): what /dev/net/tun says before and after it is
// attached, names, owners, what stays, packets both ways, routes, and two networks with a program between them.
#include "netlink.h"
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static struct ifreq request(const char *name, int flags) {
    struct ifreq r = {.ifr_flags = flags};
    strcpy(r.ifr_name, name);
    return r;
}
static int attached(const char *name, int flags) {
    struct ifreq r = request(name, flags);
    int fd = open("/dev/net/tun", O_RDWR);
    NEED(fd >= 0);
    NEED(ioctl(fd, TUNSETIFF, &r) == 0);
    printf("%s\n", r.ifr_name);
    return fd;
}
static int attach(int fd, const char *name, int flags) {
    struct ifreq r = request(name, flags);
    return ioctl(fd, TUNSETIFF, &r);
}
static int ready(int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    NEED(poll(&p, 1, 0) >= 0);
    return p.revents;
}
static void show_flags(int fd) {
    struct ifreq r = {0};
    SHOW(ioctl(fd, TUNGETIFF, &r));
    printf("%s %x\n", r.ifr_name, (unsigned short)r.ifr_flags);
}
static int flags_of(const char *name) {
    struct ifreq r = request(name, 0);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), result = ioctl(fd, SIOCGIFFLAGS, &r);
    close(fd);
    return result < 0 ? -1 : r.ifr_flags;
}
static int route(int type, const char *network, int prefix, const char *gateway, int index) {
    struct {
        struct rtmsg own;
        char rest[64];
    } body = {.own = {.rtm_family = AF_INET, .rtm_dst_len = prefix, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                      .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST}};
    size_t size = sizeof body.own;
    struct {
        int kind;
        uint32_t value;
    } all[] = {{RTA_DST, inet_addr(network)}, {RTA_GATEWAY, gateway ? inet_addr(gateway) : 0}};
    for (int i = 0; i < 2; i++) {
        if (all[i].kind == RTA_GATEWAY && !gateway)
            continue;
        struct rtattr *at = (void *)((char *)&body + size);
        *at = (struct rtattr){.rta_type = all[i].kind, .rta_len = RTA_LENGTH(4)};
        memcpy(RTA_DATA(at), &all[i].value, 4);
        size += RTA_SPACE(4);
    }
    return change(type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_EXCL : 0, &body, size, RTA_OIF, &index, index ? sizeof index : 0);
}
static void show_routes(void) {
    char line[256], name[16];
    unsigned to, by, flags, mask;
    FILE *file = fopen("/proc/self/net/route", "r");
    NEED(file && fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%15s %x %x %x %*s %*s %*s %x", name, &to, &by, &flags, &mask) == 5 && !strncmp(name, "vpn", 3))
            printf("route %s %08x %08x %x %08x\n", name, to, by, flags, mask);
    fclose(file);
}
static void show_addresses(void) {
    struct ifaddrs *all;
    NEED(getifaddrs(&all) == 0);
    for (struct ifaddrs *at = all; at; at = at->ifa_next)
        if (at->ifa_addr && at->ifa_addr->sa_family == AF_INET && !strncmp(at->ifa_name, "vpn", 3)) {
            printf("%s %s", at->ifa_name, inet_ntoa(((struct sockaddr_in *)at->ifa_addr)->sin_addr));
            printf(" mask %s", inet_ntoa(((struct sockaddr_in *)at->ifa_netmask)->sin_addr));
            printf(" peer %s\n", at->ifa_dstaddr ? inet_ntoa(((struct sockaddr_in *)at->ifa_dstaddr)->sin_addr) : "none");
        }
    freeifaddrs(all);
}
static struct sockaddr_in to(const char *address, int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address)};
}
static int send_to(int fd, const char *address, int port, const char *text) {
    struct sockaddr_in end = to(address, port);
    return sendto(fd, text, strlen(text), 0, (void *)&end, sizeof end);
}
static uint32_t sum(const void *data, size_t length, uint32_t total) {
    const uint8_t *at = data;
    for (size_t i = 0; i < length; i++)
        total += i % 2 ? at[i] : at[i] << 8;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return total;
}
// The next packet of IPv4: Linux itself sends some of IPv6.
static int next_packet(int fd, uint8_t *packet, size_t size, int before) {
    int n;
    do
        n = read(fd, packet, size);
    while (n > before && packet[before] >> 4 == 6);
    return n;
}
static void show_packet(const uint8_t *packet, int n) {
    struct iphdr ip;
    memcpy(&ip, packet, sizeof ip);
    printf("%d bytes, protocol %d, from %s", n, ip.protocol, inet_ntoa((struct in_addr){ip.saddr}));
    printf(" to %s, header %s\n", inet_ntoa((struct in_addr){ip.daddr}), sum(packet, 20, 0) == 0xffff ? "right" : "wrong");
}
// An echo request from the other end, or what else is in `type`.
static int echo(uint8_t *packet, const char *from, const char *dest) {
    struct iphdr ip = {.version = 4, .ihl = 5, .tot_len = htons(36), .ttl = 9, .protocol = IPPROTO_ICMP,
                       .saddr = inet_addr(from), .daddr = inet_addr(dest)};
    ip.check = htons(~sum(&ip, 20, 0));
    struct icmphdr icmp = {.type = ICMP_ECHO, .un.echo = {htons(7), htons(1)}};
    memcpy(packet, &ip, 20);
    memcpy(packet + 20, &icmp, 8);
    memcpy(packet + 28, "whatever", 8);
    icmp.checksum = htons(~sum(packet + 20, 16, 0));
    memcpy(packet + 20, &icmp, 8);
    return 36;
}

static void states(void) {
    uint8_t b[100] = {0x45};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK), other = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    SHOW(read(fd, b, sizeof b));
    SHOW(write(fd, b, sizeof b));
    SHOW(ready(fd));
    struct ifreq r = {0};
    SHOW(ioctl(fd, TUNGETIFF, &r));
    SHOW(ioctl(fd, TUNSETPERSIST, 1));
    unsigned features = 0;
    SHOW(ioctl(fd, TUNGETFEATURES, &features));
    SHOW((features & (IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE)) == (IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE));
    SHOW(attach(fd, "vpn0", 0));
    SHOW(attach(fd, "lo", IFF_TUN));
    SHOW(attach(fd, "a/b", IFF_TUN));
    SHOW(attach(fd, "vpn%d", IFF_TUN | IFF_NO_PI));
    show_flags(fd);
    SHOW(attach(fd, "vpn%d", IFF_TUN | IFF_NO_PI));
    SHOW(attach(other, "vpn0", IFF_TUN | IFF_NO_PI));
    SHOW(attach(other, "vpn0", IFF_TUN | IFF_TUN_EXCL));
    SHOW(attach(other, "vpn0", IFF_TUN | IFF_MULTI_QUEUE));
    SHOW(attach(other, "vpn%d", IFF_TUN));
    show_flags(other);
    SHOW(ready(fd));
    SHOW(read(fd, b, sizeof b));
    SHOW(write(fd, b, sizeof b));
    b[0] = 0;
    SHOW(write(fd, b, sizeof b));
    SHOW(write(fd, b, 0));
    SHOW(write(other, b, 3));
    SHOW(ioctl(fd, TUNSETOFFLOAD, 0));
    SHOW(ioctl(fd, 0x1234, 0));
    SHOW(flags_of("vpn0") == (IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST));
    // One that stays without a program, of another user, and then is taken away while a program is attached.
    SHOW(ioctl(fd, TUNSETPERSIST, 1));
    SHOW(ioctl(fd, TUNSETOWNER, 12345));
    show_flags(fd);
    int index = if_nametoindex("vpn0");
    SHOW(set_link(index, IFF_UP, IFF_UP));
    // Linux tells of carriers a little later.
    while ((flags_of("vpn0") & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING))
        usleep(1000);
    SHOW((ready(fd) & POLLOUT) != 0);
    close(fd);
    while ((flags_of("vpn0") & (IFF_UP | IFF_RUNNING)) != IFF_UP)
        usleep(1000);
    close(other);
    SHOW(flags_of("vpn1"));
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    SHOW(attach(fd, "vpn0", IFF_TUN | IFF_NO_PI));
    SHOW((int)if_nametoindex("vpn0") == index);
    struct ifinfomsg link = {.ifi_index = index};
    SHOW(change(RTM_DELLINK, 0, &link, sizeof link, 0, NULL, 0));
    SHOW(change(RTM_DELLINK, 0, &link, sizeof link, 0, NULL, 0));
    SHOW(flags_of("vpn0"));
    SHOW(ready(fd));
    SHOW(read(fd, b, sizeof b));
    SHOW(attach(fd, "vpn9", IFF_TUN | IFF_NO_PI));
    show_flags(fd);
    close(fd);
    SHOW(flags_of("vpn9"));
}

static void packets(void) {
    uint8_t b[2000];
    int fd = attached("vpn%d", IFF_TUN | IFF_NO_PI), index = if_nametoindex("vpn0");
    int own = socket(AF_INET, SOCK_DGRAM, 0);
    SHOW(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "10.9.0.1", 24, index));
    SHOW(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "10.9.0.1", 24, index));
    struct sockaddr_in here = to("0.0.0.0", 4000);
    NEED(bind(own, (void *)&here, sizeof here) == 0);
    SHOW(send_to(own, "10.9.0.2", 5000, "down"));
    SHOW(route(RTM_NEWROUTE, "10.20.0.0", 16, NULL, index));
    SHOW(set_link(index, IFF_UP, IFF_UP));
    show_addresses();
    show_routes();
    // Out of the stack.
    SHOW(send_to(own, "10.9.0.2", 5000, "hello"));
    int n = next_packet(fd, b, sizeof b, 0);
    show_packet(b, n);
    printf("%.5s\n", b + 28);
    // The same way back.
    struct iphdr *ip = (void *)b;
    struct udphdr *udp = (void *)(b + 20);
    uint32_t address_of = ip->saddr;
    ip->saddr = ip->daddr, ip->daddr = address_of;
    uint16_t port = udp->source;
    udp->source = udp->dest, udp->dest = port;
    SHOW(write(fd, b, n));
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    char text[16] = "";
    SHOW(recvfrom(own, text, sizeof text, 0, (void *)&from, &len));
    printf("%s from %s port %d\n", text, inet_ntoa(from.sin_addr), ntohs(from.sin_port));
    // A wrong checksum is lost; an echo is answered; what is for no address of ours is lost.
    b[30] ^= 1;
    SHOW(write(fd, b, n));
    SHOW(write(fd, b, echo(b, "10.9.0.2", "10.9.0.7")));
    SHOW(write(fd, b, echo(b, "10.9.0.2", "10.9.0.1")));
    memset(b, 0, sizeof b);
    n = next_packet(fd, b, sizeof b, 0);
    show_packet(b, n);
    printf("type %d, %s\n", b[20], sum(b + 20, 16, 0) == 0xffff ? "right" : "wrong");
    SHOW(recv(own, text, sizeof text, MSG_DONTWAIT));
    // No port: ICMP goes back.
    SHOW(send_to(own, "10.9.0.2", 5000, "x"));
    n = next_packet(fd, b, sizeof b, 0);
    ip->saddr = ip->daddr, ip->daddr = address_of;
    udp->source = htons(5000), udp->dest = htons(4001), udp->check = 0;
    SHOW(write(fd, b, n));
    n = next_packet(fd, b, sizeof b, 0);
    printf("type %d code %d\n", b[20], b[21]);
    // A short buffer cuts; the end of a packet is lost.
    SHOW(send_to(own, "10.9.0.2", 5000, "hello"));
    SHOW(next_packet(fd, b, 30, 0));
    // Routes: by the network, by a router, for one host.
    SHOW(send_to(own, "10.20.1.1", 5000, "x"));
    SHOW(route(RTM_NEWROUTE, "10.20.0.0", 16, NULL, index));
    SHOW(route(RTM_NEWROUTE, "10.20.0.0", 16, NULL, index));
    SHOW(route(RTM_NEWROUTE, "10.30.0.1", 16, NULL, index));
    SHOW(route(RTM_NEWROUTE, "10.30.0.0", 16, "10.9.0.2", 0));
    SHOW(route(RTM_NEWROUTE, "10.40.0.0", 16, "10.8.0.2", 0));
    SHOW(route(RTM_NEWROUTE, "10.50.0.1", 32, NULL, index));
    SHOW(route(RTM_NEWROUTE, "10.60.0.1", 32, NULL, 77));
    show_routes();
    const char *all[] = {"10.20.1.1", "10.30.1.1", "10.50.0.1"};
    for (int i = 0; i < 3; i++) {
        SHOW(send_to(own, all[i], 5000, "x"));
        show_packet(b, next_packet(fd, b, sizeof b, 0));
    }
    SHOW(send_to(own, "10.50.0.2", 5000, "x"));
    SHOW(route(RTM_DELROUTE, "10.20.0.0", 16, NULL, index));
    SHOW(route(RTM_DELROUTE, "10.20.0.0", 16, NULL, index));
    SHOW(send_to(own, "10.20.1.1", 5000, "x"));
    // Fragments: a datagram larger than the interface's packets.
    char large[3000] = "";
    struct sockaddr_in end = to("10.9.0.2", 5000);
    SHOW(sendto(own, large, sizeof large, 0, (void *)&end, sizeof end));
    for (int i = 0; i < 3; i++)
        printf("fragment of %d\n", next_packet(fd, b, sizeof b, 0));
    SHOW(set_link(index, 0, IFF_UP));
    SHOW(send_to(own, "10.9.0.2", 5000, "x"));
    show_routes();
    SHOW(write(fd, b, echo(b, "10.9.0.2", "10.9.0.1")));
    SHOW(address(RTM_DELADDR, 0, "10.9.0.1", 24, index));
    // With information before each packet.
    int other = attached("vpn1", IFF_TUN);
    index = if_nametoindex("vpn1");
    SHOW(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "10.9.1.1", 24, index));
    SHOW(set_link(index, IFF_UP, IFF_UP));
    SHOW(send_to(own, "10.9.1.2", 5000, "hello"));
    n = next_packet(other, b, sizeof b, 4);
    printf("%d: %02x%02x %02x%02x\n", n, b[0], b[1], b[2], b[3]);
    show_packet(b + 4, n - 4);
    SHOW(send_to(own, "10.9.1.2", 5000, "hello"));
    n = next_packet(other, b, 30, 4);
    printf("%d: %02x%02x %02x%02x\n", n, b[0], b[1], b[2], b[3]);
    SHOW(write(other, b, 3));
    memcpy(b, "\0\0\x08\0", 4);
    SHOW(write(other, b, 4 + echo(b + 4, "10.9.1.2", "10.9.1.1")));
    n = next_packet(other, b, sizeof b, 4);
    printf("%d: type %d\n", n, b[24]);
    close(own);
    close(other);
    close(fd);
}

// Passes packets of IPv4 between two interfaces until one of them is gone.
static void relay(int a, int b) {
    uint8_t packet[2000];
    struct pollfd both[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    for (;;) {
        NEED(poll(both, 2, -1) > 0);
        for (int i = 0; i < 2; i++)
            if (both[i].revents & POLLIN) {
                int n = read(both[i].fd, packet, sizeof packet);
                if (n > 0 && packet[0] >> 4 == 4 && write(both[!i].fd, packet, n) < 0)
                    NEED(errno == EIO);
            }
    }
}
static void set_up(const char *own) {
    int index = if_nametoindex("vpn0");
    NEED(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, own, 24, index) == 0 && set_link(index, IFF_UP, IFF_UP) == 0);
}
enum { BULK = 300000 };
static void two_networks(void) {
    int here = attached("vpn0", IFF_TUN | IFF_NO_PI), first = open("/proc/self/ns/net", O_RDONLY);
    NEED(first >= 0);
    set_up("10.9.0.1");
    NEED(unshare(CLONE_NEWNET) == 0);
    int there = attached("vpn0", IFF_TUN | IFF_NO_PI);
    set_up("10.9.0.2");
    struct sockaddr_in end = to("10.9.0.2", 7000);
    int listener = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(bind(listener, (void *)&end, sizeof end) == 0 && listen(listener, 1) == 0);
    NEED(bind(datagrams, (void *)&end, sizeof end) == 0);
    fflush(stdout);
    pid_t between = fork();
    if (between == 0)
        relay(here, there);
    pid_t server = fork();
    if (server == 0) {
        char text[16];
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        NEED(recvfrom(datagrams, text, sizeof text, 0, (void *)&from, &len) == 4);
        NEED(sendto(datagrams, "pong", 4, 0, (void *)&from, len) == 4);
        int fd = accept(listener, NULL, NULL);
        NEED(fd >= 0);
        static uint8_t bytes[BULK];
        size_t done = 0;
        for (ssize_t n; done < BULK && (n = read(fd, bytes + done, BULK - done)) > 0;)
            done += n;
        uint32_t total = sum(bytes, done, 0);
        NEED(done == BULK && write(fd, &total, 4) == 4);
        _exit(0);
    }
    NEED(setns(first, CLONE_NEWNET) == 0);
    int own = socket(AF_INET, SOCK_DGRAM, 0);
    char text[16] = "";
    SHOW(send_to(own, "10.9.0.2", 7000, "ping"));
    SHOW(recv(own, text, sizeof text, 0));
    printf("%s\n", text);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(fd, (void *)&end, sizeof end));
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    NEED(getsockname(fd, (void *)&name, &len) == 0);
    printf("from %s\n", inet_ntoa(name.sin_addr));
    static uint8_t bytes[BULK];
    for (int i = 0; i < BULK; i++)
        bytes[i] = i * 7 + i / 251;
    for (size_t done = 0; done < BULK;) {
        ssize_t n = write(fd, bytes + done, BULK - done);
        NEED(n > 0);
        done += n;
    }
    uint32_t total = 0;
    SHOW(recv(fd, &total, 4, MSG_WAITALL));
    SHOW(total == sum(bytes, BULK, 0));
    int status;
    NEED(waitpid(server, &status, 0) == server);
    SHOW(status);
    // A port that nobody listens on.
    end.sin_port = htons(7001);
    SHOW(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&end, sizeof end));
    kill(between, SIGKILL);
    NEED(waitpid(between, &status, 0) == between);
    close(here);
    close(there);
}
// One that may not make interfaces may attach to its own.
static void by_others(void) {
    int fd = attached("vpn7", IFF_TUN | IFF_NO_PI);
    NEED(ioctl(fd, TUNSETPERSIST, 1) == 0 && ioctl(fd, TUNSETOWNER, 1000) == 0);
    close(fd);
    fflush(stdout);
    for (int user = 1000; user < 1002; user++) {
        int own = open("/dev/net/tun", O_RDWR);
        pid_t pid = fork();
        if (pid == 0) {
            NEED(setgid(user) == 0 && setuid(user) == 0);
            SHOW(attach(own, "vpn8", IFF_TUN | IFF_NO_PI));
            SHOW(attach(own, "vpn7", IFF_TUN | IFF_NO_PI));
            _exit(0);
        }
        int status;
        NEED(waitpid(pid, &status, 0) == pid && status == 0);
        close(own);
    }
}

// The rights count that a program has in the network namespace in which it opened the file.
static void elsewhere(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int own = open("/dev/net/tun", O_RDWR);
        NEED(own >= 0 && setgid(1000) == 0 && setuid(1000) == 0);
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
            SHOW(attach(own, "vpn9", IFF_TUN | IFF_NO_PI));
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid && status == 0);
    SHOW(if_nametoindex("vpn9"));
}
// What is kept takes the flags of the program that attaches last.
static void kept(void) {
    int fd = attached("vpn6", IFF_TUN | IFF_NO_PI);
    NEED(ioctl(fd, TUNSETPERSIST, 1) == 0);
    close(fd);
    fd = attached("vpn6", IFF_TUN);
    show_flags(fd);
    NEED(ioctl(fd, TUNSETPERSIST, 0) == 0);
    close(fd);
    SHOW(flags_of("vpn6"));
}

int main(void) {
    NEED(unshare(CLONE_NEWNET) == 0);
    states();
    packets();
    two_networks();
    by_others();
    elsewhere();
    kept();
    DONE();
}
