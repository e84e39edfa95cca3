// TCP Fast Open (RFC 7413): cookies of a server, data in SYNs by MSG_FASTOPEN and TCP_FASTOPEN_CONNECT, keys that change, connections
// without cookies, bounds of listeners, and options. In a network namespace of its own, whose setting is changed.
#include "t.h"
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT 30
#endif
#ifndef TCP_FASTOPEN_KEY
#define TCP_FASTOPEN_KEY 33
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif
#define SETTING "/proc/sys/net/ipv4/tcp_fastopen"

static void allow(int bits) {
    char text[16];
    snprintf(text, sizeof text, "%d", bits);
    int fd = open(SETTING, O_WRONLY);
    NEED(fd >= 0 && write(fd, text, strlen(text)) > 0);
    close(fd);
}
static int set(int fd, int name, int value) { return setsockopt(fd, IPPROTO_TCP, name, &value, sizeof value); }
static int get(int fd, int name) {
    int value = -7;
    socklen_t len = sizeof value;
    return getsockopt(fd, IPPROTO_TCP, name, &value, &len) == 0 ? value : -1;
}
static int stream(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    NEED(fd >= 0);
    return fd;
}
static int had_syn_data(int fd) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    NEED(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0);
    return !!(info.tcpi_options & TCPI_OPT_SYN_DATA);
}
static short ready(int fd) {
    struct pollfd at = {.fd = fd, .events = POLLIN | POLLOUT};
    NEED(poll(&at, 1, 0) >= 0);
    return at.revents;
}
static struct sockaddr_in to;
static int accepted(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    NEED(fd >= 0);
    return fd;
}
static int send_first(int fd, const char *text, int flags) {
    return sendto(fd, text, strlen(text), MSG_FASTOPEN | flags, (void *)&to, sizeof to);
}
// What the server gets of a client that has sent its first bytes, and an answer.
static void exchange(int listener, int client) {
    char text[4096];
    int server = accepted(listener);
    ssize_t got = recv(server, text, sizeof text, 0);
    printf("server got %zd: %.*s; SYN data: server %d, client %d\n", got, got > 0 && got < 40 ? (int)got : 0, text,
           had_syn_data(server), had_syn_data(client));
    NEED(send(server, "answer", 6, 0) == 6);
    got = recv(client, text, sizeof text, 0);
    printf("client got %.*s\n", (int)got, text);
    close(client);
    printf("then the server got %zd\n", recv(server, text, sizeof text, 0));
    close(server);
}
static void open_with(int listener, const char *text, int flags) {
    int client = stream();
    printf("sendto: %d\n", send_first(client, text, flags));
    exchange(listener, client);
}
static int listening(int limit) {
    int fd = stream();
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof own;
    NEED(bind(fd, (void *)&own, sizeof own) == 0 && getsockname(fd, (void *)&own, &len) == 0);
    if (limit >= 0)
        NEED(set(fd, TCP_FASTOPEN, limit) == 0);
    NEED(listen(fd, 16) == 0);
    to = own;
    return fd;
}

static void options(void) {
    int fd = stream();
    SHOW(get(fd, TCP_FASTOPEN));
    SHOW(get(fd, TCP_FASTOPEN_CONNECT));
    SHOW(get(fd, TCP_FASTOPEN_NO_COOKIE));
    SHOW(set(fd, TCP_FASTOPEN, -1));
    SHOW(set(fd, TCP_FASTOPEN, 1 << 20));
    SHOW(get(fd, TCP_FASTOPEN) <= 1 << 16);
    SHOW(set(fd, TCP_FASTOPEN_CONNECT, 2));
    SHOW(set(fd, TCP_FASTOPEN_CONNECT, 1));
    SHOW(get(fd, TCP_FASTOPEN_CONNECT));
    SHOW(set(fd, TCP_FASTOPEN_NO_COOKIE, 2));
    SHOW(set(fd, TCP_FASTOPEN_NO_COOKIE, 1));
    SHOW(get(fd, TCP_FASTOPEN_NO_COOKIE));
    unsigned char key[40] = "0123456789abcdefFEDCBA9876543210", back[40];
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 15));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 17));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 16));
    socklen_t len = sizeof back;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, back, &len));
    SHOW(len == 16 && memcmp(back, key, 16) == 0);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 32));
    len = sizeof back;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, back, &len));
    SHOW(len == 32 && memcmp(back, key, 32) == 0);
    close(fd);
    allow(0);
    fd = stream();
    SHOW(set(fd, TCP_FASTOPEN_CONNECT, 1));
    to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(send_first(fd, "x", 0));
    close(fd);
    allow(3);
    show_file(SETTING);
}

static void errors(int listener) {
    int fd = stream();
    SHOW(send(fd, "x", 1, MSG_FASTOPEN));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    SHOW(sendto(fd, "x", 1, MSG_FASTOPEN, &none, sizeof none));
    struct sockaddr_in right = to;
    to.sin_port = htons(1);
    SHOW(send_first(fd, "x", 0));
    to = right;
    SHOW(send_first(fd, "again", 0));
    SHOW(send_first(fd, "connected", 0));
    SHOW(set(fd, TCP_FASTOPEN_CONNECT, 1));
    SHOW(set(fd, TCP_FASTOPEN, 1));
    exchange(listener, fd);
    fd = stream();
    NEED(listen(fd, 1) == 0);
    SHOW(send_first(fd, "listening", 0));
    close(fd);
}

static void later(int listener) {
    int client = stream();
    SHOW(set(client, TCP_FASTOPEN_CONNECT, 1));
    SHOW(connect(client, (void *)&to, sizeof to));
    SHOW(ready(client) == POLLOUT);
    struct sockaddr_in other;
    socklen_t len = sizeof other;
    SHOW(getpeername(client, (void *)&other, &len));
    len = sizeof other;
    SHOW(getsockname(client, (void *)&other, &len));
    SHOW(other.sin_port != 0);
    int error = 7;
    len = sizeof error;
    SHOW(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &len));
    SHOW(error);
    SHOW(ready(listener));
    SHOW(set(client, TCP_FASTOPEN_CONNECT, 0));
    SHOW(write(client, "written", 7));
    exchange(listener, client);
    // It is closed before anything was sent: nothing comes.
    client = stream();
    SHOW(set(client, TCP_FASTOPEN_CONNECT, 1));
    SHOW(connect(client, (void *)&to, sizeof to));
    close(client);
    SHOW(ready(listener));
    // To a port where none listens: the write reports it.
    client = stream();
    struct sockaddr_in wrong = to;
    wrong.sin_port = htons(1);
    SHOW(set(client, TCP_FASTOPEN_CONNECT, 1));
    SHOW(connect(client, (void *)&wrong, sizeof wrong));
    SHOW(write(client, "x", 1));
    close(client);
    // Not blocking.
    client = stream();
    NEED(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    SHOW(set(client, TCP_FASTOPEN_CONNECT, 1));
    SHOW(connect(client, (void *)&to, sizeof to));
    SHOW(write(client, "at once", 7));
    NEED(fcntl(client, F_SETFL, 0) == 0);
    exchange(listener, client);
}

int main(void) {
    NEED(unshare(CLONE_NEWNET) == 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
    show_file(SETTING);
    allow(3);
    options();

    puts("-- a listener without");
    int listener = listening(-1);
    open_with(listener, "one", 0);
    open_with(listener, "two", 0);
    close(listener);

    puts("-- with cookies");
    listener = listening(5);
    open_with(listener, "asks", 0);
    open_with(listener, "has", 0);
    open_with(listener, "at once", MSG_DONTWAIT);
    static char big[100000];
    memset(big, 'b', sizeof big - 1);
    int client = stream();
    int small = 65536;
    NEED(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    SHOW(sendto(client, big, 9000, MSG_FASTOPEN, (void *)&to, sizeof to));
    int server = accepted(listener);
    SHOW(recv(server, big, 9000, MSG_WAITALL));
    SHOW(had_syn_data(client) && had_syn_data(server));
    close(client);
    close(server);
    puts("-- several, and then accepted");
    int clients[3];
    for (int i = 0; i < 3; i++) {
        clients[i] = stream();
        SHOW(send_first(clients[i], "many", 0));
    }
    for (int i = 0; i < 3; i++)
        exchange(listener, clients[i]);
    puts("-- errors");
    errors(listener);
    puts("-- connect, then write");
    later(listener);

    puts("-- another key");
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, "0123456789abcdef", 16));
    open_with(listener, "old cookie", 0);
    open_with(listener, "new cookie", 0);
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, "fedcba98765432100123456789abcdef", 32));
    open_with(listener, "cookie of the second key", 0);
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, "fedcba9876543210", 16));
    open_with(listener, "which was replaced", 0);

    puts("-- no more");
    SHOW(set(listener, TCP_FASTOPEN, 0));
    open_with(listener, "no place", 0);
    SHOW(set(listener, TCP_FASTOPEN, 5));
    allow(1);
    open_with(listener, "no server", 0);
    allow(3);
    open_with(listener, "server", 0);
    close(listener);

    puts("-- without cookies");
    listener = listening(5);
    SHOW(set(listener, TCP_FASTOPEN_NO_COOKIE, 1));
    client = stream();
    SHOW(set(client, TCP_FASTOPEN_NO_COOKIE, 1));
    SHOW(send_first(client, "no cookie", 0));
    exchange(listener, client);
    close(listener);
    allow(3 | 0x400);
    listener = listening(-1);
    SHOW(get(listener, TCP_FASTOPEN));
    open_with(listener, "all listeners", 0);
    open_with(listener, "all listeners", 0);
    allow(3 | 4 | 0x200 | 0x400);
    open_with(listener, "all without cookies", 0);
    close(listener);

    puts("-- IPv6");
    allow(3);
    listener = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t len = sizeof to6;
    NEED(bind(listener, (void *)&to6, sizeof to6) == 0 && getsockname(listener, (void *)&to6, &len) == 0);
    NEED(set(listener, TCP_FASTOPEN, 5) == 0 && listen(listener, 5) == 0);
    for (int i = 0; i < 2; i++) {
        client = socket(AF_INET6, SOCK_STREAM, 0);
        SHOW(sendto(client, "six", 3, MSG_FASTOPEN, (void *)&to6, sizeof to6));
        exchange(listener, client);
    }
    DONE();
}
