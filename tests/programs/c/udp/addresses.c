// Which addresses bind(2), connect(2) and sendto(2) take, by family and length: AF_UNSPEC stands for AF_INET in some calls, and ends a
// connection in others. The loopback has a broadcast address.
#include "net.h"

static int target;

static void show(const char *what, long result) { printf(" %s=%s", what, result < 0 ? t_errno(errno) : "ok"); }

// Each call with the first `length` bytes of an address, on a new socket.
static void try_address(int domain, int type, const char *what, struct sockaddr_storage address, socklen_t length) {
    const struct sockaddr *a = (const struct sockaddr *)&address;
    struct sockaddr_storage any_port = address;
    ((struct sockaddr_in *)&any_port)->sin_port = 0;
    printf("%s%s, %s, %d bytes:", type == SOCK_STREAM ? "tcp" : "udp", domain == AF_INET6 ? "6" : "", what, (int)length);
    int s = socket(domain, type, 0);
    NEED(s >= 0);
    show("bind", bind(s, (const struct sockaddr *)&any_port, length));
    close(s);
    NEED((s = socket(domain, type, 0)) >= 0);
    show("sendto", sendto(s, "x", 1, MSG_NOSIGNAL, a, length));
    close(s);
    if (type == SOCK_DGRAM) {
        NEED((s = socket(domain, type, 0)) >= 0);
        show("connect", connect(s, a, length));
        close(s);
    }
    puts("");
}

static void families(void) {
    static const struct { int family; const char *name; } families[] = {
        {AF_UNSPEC, "none"}, {AF_UNIX, "unix"}, {AF_INET, "inet"}, {AF_INET6, "inet6"}, {AF_MAX, "unknown"}};
    static const socklen_t lengths[] = {0, 1, 2, 15, 16, 23, 24, 28};
    static const int domains[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int i = 0; i < 4; i++)
        for (size_t f = 0; f < sizeof families / sizeof *families; f++)
            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                struct sockaddr_storage address = {.ss_family = (sa_family_t)families[f].family};
                // The ports of both families are at the same place.
                ((struct sockaddr_in *)&address)->sin_port = local_address(target).sin_port;
                if (families[f].family == AF_INET6)
                    ((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_any;
                try_address(domains[i / 2], types[i % 2], families[f].name, address, lengths[l]);
            }
}

static void special_addresses(void) {
    static const char *const addresses[] = {"0.0.0.0", "127.0.0.1", "127.0.0.0", "127.1.2.3", "127.255.255.254",
                                            "127.255.255.255", "224.0.0.1", "255.255.255.255"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET}, name;
        socklen_t length = sizeof name;
        NEED(inet_aton(addresses[i], &a.sin_addr) == 1);
        printf("%s:", addresses[i]);
        for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
            int s = socket(AF_INET, type, 0);
            a.sin_port = 0;
            show(type == SOCK_STREAM ? "tcp bind" : "udp bind", bind(s, ADDR(a)));
            if (type == SOCK_STREAM)
                show("listen", listen(s, 1));
            close(s);
        }
        // What is not of the loopback depends on the machine's network.
        if ((ntohl(a.sin_addr.s_addr) >> 24) == 127 || a.sin_addr.s_addr == 0) {
            int s = socket(AF_INET, SOCK_STREAM, 0);
            struct sockaddr_in any = {.sin_family = AF_INET}, to = a;
            int everywhere = socket(AF_INET, SOCK_STREAM, 0);
            NEED(bind(everywhere, ADDR(any)) == 0 && listen(everywhere, 2) == 0);
            to.sin_port = local_address(everywhere).sin_port;
            show("tcp connect", connect(s, ADDR(to)));
            NEED(getsockname(s, (struct sockaddr *)&name, &length) == 0);
            printf(" from %s", inet_ntoa(name.sin_addr));
            close(s), close(everywhere);
            for (int broadcast = 0; broadcast < 2; broadcast++) {
                NEED((s = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
                NEED(setsockopt(s, SOL_SOCKET, SO_BROADCAST, &broadcast, sizeof broadcast) == 0);
                to.sin_port = local_address(target).sin_port;
                show(broadcast ? "broadcast" : "udp sendto", sendto(s, "x", 1, 0, ADDR(to)));
                close(s);
            }
        }
        puts("");
    }
}

// AF_UNSPEC sends to the address that follows it, not to the peer.
static void unspecified(void) {
    int to = udp_socket(), peer = udp_socket(), s = udp_socket();
    struct sockaddr_in a = local_address(peer), b = local_address(to);
    char byte;
    NEED(connect(s, ADDR(a)) == 0);
    b.sin_family = AF_UNSPEC;
    SHOW(sendto(s, "x", 1, 0, ADDR(b)));
    SHOW(recv(to, &byte, 1, 0));
    SHOW(recv(peer, &byte, 1, MSG_DONTWAIT));
    close(s), close(to), close(peer);
}

// All sockets of the port hear what goes to the loopback's broadcast address.
static void loopback_broadcast(void) {
    int first = socket(AF_INET, SOCK_DGRAM, 0), second = socket(AF_INET, SOCK_DGRAM, 0), s = udp_socket(), on = 1;
    struct sockaddr_in any = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    char byte;
    NEED(setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    NEED(setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    NEED(setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) == 0);
    NEED(bind(first, ADDR(any)) == 0);
    any = local_address(first);
    NEED(bind(second, ADDR(any)) == 0);
    NEED(inet_aton("127.255.255.255", &to.sin_addr) == 1);
    to.sin_port = any.sin_port;
    SHOW(sendto(s, "x", 1, 0, ADDR(to)));
    SHOW(recv(first, &byte, 1, 0));
    SHOW(recv(second, &byte, 1, 0));
    close(first), close(second), close(s);
}

int main(void) {
    target = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    NEED(target >= 0 && bind(target, ADDR(any)) == 0);
    families();
    special_addresses();
    unspecified();
    loopback_broadcast();
    DONE();
}
