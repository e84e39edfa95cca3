// Senders of multicast groups (RFC 3678): IP_ADD_SOURCE_MEMBERSHIP, IP_BLOCK_SOURCE and their kin, by address and by number of the
// interface, IP_MSFILTER; and SO_BINDTODEVICE with the loopback.
#include "net.h"
#include <net/if.h>

#define GROUP "239.1.2.3"
static int receiver, port;

static int udp_socket_unbound(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0);
    return fd;
}

static void send_from(const char *source) {
    int fd = udp_socket_unbound();
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(source)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(GROUP)};
    struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
    NEED(bind(fd, ADDR(own)) == 0);
    NEED(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof loopback) == 0);
    NEED(sendto(fd, source, strlen(source), 0, ADDR(to)) == (ssize_t)strlen(source));
    close(fd);
}
// Who is heard of two senders.
static void heard(const char *what) {
    char text[64];
    send_from("127.0.0.1"), send_from("127.0.0.2");
    printf("%s:", what);
    for (ssize_t n; (n = recv(receiver, text, sizeof text, MSG_DONTWAIT)) > 0;)
        printf(" %.*s", (int)n, text);
    printf("\n");
}
static int source(int name, const char *sender) {
    struct ip_mreq_source request = {.imr_multiaddr.s_addr = inet_addr(GROUP),
                                     .imr_interface.s_addr = htonl(INADDR_LOOPBACK),
                                     .imr_sourceaddr.s_addr = inet_addr(sender)};
    return setsockopt(receiver, IPPROTO_IP, name, &request, sizeof request);
}
static int by_number(int name, const char *sender, int family) {
    struct group_source_req request = {.gsr_interface = if_nametoindex("lo")};
    struct sockaddr_in *group = (void *)&request.gsr_group, *from = (void *)&request.gsr_source;
    *group = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(GROUP)};
    *from = (struct sockaddr_in){.sin_family = family, .sin_addr.s_addr = inet_addr(sender)};
    return setsockopt(receiver, IPPROTO_IP, name, &request, sizeof request);
}
static int member(int name) {
    struct ip_mreqn request = {{inet_addr(GROUP)}, {htonl(INADDR_LOOPBACK)}, 0};
    return setsockopt(receiver, IPPROTO_IP, name, &request, sizeof request);
}
static int filter(int mode, int count, const char *first, const char *second, int room) {
    char bytes[IP_MSFILTER_SIZE(16)] = "";
    struct ip_msfilter *list = (void *)bytes;
    list->imsf_multiaddr.s_addr = inet_addr(GROUP), list->imsf_interface.s_addr = htonl(INADDR_LOOPBACK);
    list->imsf_fmode = mode, list->imsf_numsrc = count;
    list->imsf_slist[0].s_addr = inet_addr(first);
    ((struct in_addr *)list->imsf_slist)[1].s_addr = inet_addr(second);
    return setsockopt(receiver, IPPROTO_IP, IP_MSFILTER, list, IP_MSFILTER_SIZE(room));
}

static void groups(void) {
    int on = 0;
    struct sockaddr_in any = {.sin_family = AF_INET};
    receiver = udp_socket_unbound();
    NEED(bind(receiver, ADDR(any)) == 0);
    port = ntohs(local_address(receiver).sin_port);
    NEED(setsockopt(receiver, IPPROTO_IP, IP_MULTICAST_ALL, &on, sizeof on) == 0);
    heard("no member");
    SHOW(source(IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.1"));
    SHOW(source(IP_BLOCK_SOURCE, "127.0.0.1"));
    SHOW(source(IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.1"));
    heard("first");
    SHOW(source(IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.1"));
    SHOW(member(IP_ADD_MEMBERSHIP));
    SHOW(source(IP_BLOCK_SOURCE, "127.0.0.1"));
    SHOW(source(IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    heard("both");
    SHOW(source(IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.9"));
    SHOW(source(IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.1"));
    heard("second");
    SHOW(source(IP_DROP_SOURCE_MEMBERSHIP, "127.0.0.2"));
    heard("left with the last");
    SHOW(member(IP_DROP_MEMBERSHIP));
    SHOW(member(IP_ADD_MEMBERSHIP));
    heard("all");
    SHOW(source(IP_UNBLOCK_SOURCE, "127.0.0.1"));
    SHOW(source(IP_BLOCK_SOURCE, "127.0.0.1"));
    SHOW(source(IP_BLOCK_SOURCE, "127.0.0.1"));
    heard("all but the first");
    SHOW(source(IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    SHOW(source(IP_UNBLOCK_SOURCE, "127.0.0.1"));
    heard("all again");
    SHOW(source(IP_ADD_SOURCE_MEMBERSHIP, "127.0.0.2"));
    SHOW(member(IP_DROP_MEMBERSHIP));
    puts("-- by number");
    SHOW(by_number(MCAST_JOIN_SOURCE_GROUP, "127.0.0.2", AF_INET));
    heard("second");
    SHOW(by_number(MCAST_JOIN_SOURCE_GROUP, "127.0.0.2", AF_INET));
    SHOW(by_number(MCAST_JOIN_SOURCE_GROUP, "127.0.0.2", AF_INET6));
    SHOW(by_number(MCAST_LEAVE_SOURCE_GROUP, "127.0.0.2", AF_INET));
    heard("none");
    SHOW(by_number(MCAST_BLOCK_SOURCE, "127.0.0.2", AF_INET));
    SHOW(member(IP_ADD_MEMBERSHIP));
    SHOW(by_number(MCAST_BLOCK_SOURCE, "127.0.0.2", AF_INET));
    heard("first");
    SHOW(by_number(MCAST_UNBLOCK_SOURCE, "127.0.0.2", AF_INET));
    heard("both");
    puts("-- all at once");
    SHOW(filter(MCAST_INCLUDE, 1, "127.0.0.2", "127.0.0.3", 1));
    heard("second");
    SHOW(filter(MCAST_EXCLUDE, 2, "127.0.0.3", "127.0.0.2", 2));
    heard("first");
    SHOW(filter(MCAST_EXCLUDE, 2, "127.0.0.3", "127.0.0.2", 1));
    SHOW(filter(7, 1, "127.0.0.3", "127.0.0.2", 1));
    SHOW(filter(MCAST_EXCLUDE, 11, "127.0.0.3", "127.0.0.2", 16));
    SHOW(filter(MCAST_EXCLUDE, 0, "127.0.0.3", "127.0.0.2", 0));
    heard("both");
    SHOW(filter(MCAST_INCLUDE, 0, "127.0.0.3", "127.0.0.2", 0));
    heard("left");
    SHOW(filter(MCAST_INCLUDE, 1, "127.0.0.3", "127.0.0.2", 1));
    struct ip_mreq_source none = {.imr_multiaddr.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(setsockopt(receiver, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &none, sizeof none));
    SHOW(setsockopt(receiver, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &none, sizeof none - 4));
    none = (struct ip_mreq_source){.imr_multiaddr.s_addr = inet_addr(GROUP), .imr_interface.s_addr = inet_addr("192.0.2.7")};
    SHOW(setsockopt(receiver, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &none, sizeof none));
    // As many as are allowed.
    char sender[32];
    int listed = 0;
    for (int i = 1; i < 20; i++) {
        snprintf(sender, sizeof sender, "127.0.1.%d", i);
        if (source(IP_ADD_SOURCE_MEMBERSHIP, sender) == 0)
            listed++;
        else if (listed + 1 == i)
            printf("%d, then %s\n", listed, t_errno(errno));
    }
    close(receiver);
}

static int to_device(int fd, const char *name) { return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name)); }
static int received(int fd) {
    char text[8];
    return recv(fd, text, sizeof text, MSG_DONTWAIT);
}

// Guests of the tests have no other interface: that sockets of different ones are apart is tested in crates/tcpip.
static void devices(void) {
    puts("-- devices");
    int any = udp_socket_unbound(), mine = udp_socket_unbound(), sender = udp_socket_unbound();
    SHOW(to_device(mine, "lo"));
    struct sockaddr_in own = {.sin_family = AF_INET};
    NEED(bind(mine, ADDR(own)) == 0);
    struct sockaddr_in to = local_address(mine);
    own.sin_port = to.sin_port, to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // Sockets of any interface are in the way.
    SHOW(bind(any, ADDR(own)));
    NEED(sendto(sender, "one", 3, 0, ADDR(to)) == 3);
    SHOW(received(mine));
    // What is bound to the loopback reaches it.
    SHOW(to_device(sender, "lo"));
    SHOW(sendto(sender, "four", 4, 0, ADDR(to)));
    SHOW(received(mine));
    close(mine);
    // It is bound to a device when it has its port.
    NEED(bind(any, ADDR(own)) == 0);
    SHOW(to_device(any, "lo"));
    NEED(sendto(sender, "three", 5, 0, ADDR(to)) == 5);
    SHOW(received(any));
    close(any), close(sender);

    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(to_device(listener, "lo"));
    SHOW(to_device(client, "lo"));
    own.sin_port = 0;
    NEED(bind(listener, ADDR(own)) == 0 && listen(listener, 4) == 0);
    to = local_address(listener);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SHOW(connect(client, ADDR(to)));
    int server = accept(listener, NULL, NULL);
    char name[IF_NAMESIZE] = "";
    socklen_t len = sizeof name;
    SHOW(getsockopt(server, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    puts(name);
    SHOW(write(client, "bytes", 5));
    SHOW(received(server));
}

int main(void) {
    groups();
    devices();
    DONE();
}
