// MSG_ZEROCOPY: which calls are counted, what the error queue says of them, and whom it wakes; for TCP and UDP, over IPv4 and IPv6
// (Linux's Documentation/networking/msg_zerocopy.rst).
// machines: all
#include "net.h"
#include <linux/errqueue.h>
#include <poll.h>
#include <sys/epoll.h>

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

static void show_notice(int fd) {
    char control[128];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, MSG_ERRQUEUE);
    if (got == -1) {
        printf("no notice: %s\n", t_errno(errno));
        return;
    }
    printf("%zd bytes, flags %s%s\n", got, message.msg_flags & MSG_ERRQUEUE ? "ERRQUEUE" : "",
           message.msg_flags & ~MSG_ERRQUEUE ? " and others" : "");
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        struct sock_extended_err error;
        memcpy(&error, CMSG_DATA(c), sizeof error);
        bool is_v4 = c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR;
        bool is_v6 = c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR;
        printf("%s of %zu bytes: errno %u origin %u type %u code %u, calls %u to %u\n", is_v4 ? "IP_RECVERR" : is_v6 ? "IPV6_RECVERR" : "?",
               (size_t)c->cmsg_len, error.ee_errno, error.ee_origin, error.ee_type, error.ee_code, error.ee_info, error.ee_data);
    }
}

// Takes notices until that of the call with this number.
static void show_calls(int fd, uint32_t last) {
    uint32_t first = UINT32_MAX, next = 0;
    bool gaps = false;
    while (next != last + 1) {
        char control[128];
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
        struct pollfd p = {fd, 0, 0};
        NEED(poll(&p, 1, -1) == 1 && recvmsg(fd, &message, MSG_ERRQUEUE) == 0);
        struct sock_extended_err error;
        memcpy(&error, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof error);
        if (first == UINT32_MAX)
            first = error.ee_info;
        else
            gaps |= error.ee_info != next;
        next = error.ee_data + 1;
    }
    printf("calls %u to %u%s\n", first, next - 1, gaps ? ", with gaps" : "");
}

// Linux gives a notice when nothing uses the bytes any more, which is when they are received.
static void wait_for_notice(int fd) {
    struct pollfd p = {fd, 0, 0};
    NEED(poll(&p, 1, -1) == 1 && p.revents == POLLERR);
}

static void options(void) {
    int value = 7;
    socklen_t len = sizeof value;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, &len));
    SHOW(value);
    value = 2;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value));
    value = -1;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, 2));
    value = 1;
    SHOW(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value));
    value = 0;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, &len));
    SHOW(value);
    show_notice(fd);
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
    if (fd >= 0) {
        value = 1;
        int result = setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value);
        CHECK(result == -1 && errno == EOPNOTSUPP);
        close(fd);
    }
}

static void pair(int family, int type, int fds[2]) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (family == AF_INET)
        memcpy(&address, &v4, sizeof v4);
    socklen_t len = family == AF_INET ? sizeof v4 : sizeof address;
    int listener = socket(family, type, 0), one = 1;
    NEED(bind(listener, (void *)&address, len) == 0 && getsockname(listener, (void *)&address, &len) == 0);
    // A connection has the option of its listener.
    NEED(setsockopt(listener, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) == 0);
    int client = socket(family, type, 0);
    if (type == SOCK_STREAM) {
        NEED(listen(listener, 1) == 0 && connect(client, (void *)&address, len) == 0);
        fds[0] = accept(listener, NULL, NULL), fds[1] = client;
        close(listener);
        return;
    }
    NEED(connect(client, (void *)&address, len) == 0 && setsockopt(client, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) == 0);
    fds[0] = client, fds[1] = listener;
}

static void sending(int family, int type) {
    printf("-- %s, %s\n", family == AF_INET ? "IPv4" : "IPv6", type == SOCK_STREAM ? "TCP" : "UDP");
    static char bytes[16384], got[16384];
    int fds[2], value = 0;
    pair(family, type, fds);
    socklen_t len = sizeof value;
    CHECK(getsockopt(fds[0], SOL_SOCKET, SO_ZEROCOPY, &value, &len) == 0 && value == 1);
    // Without the flag nothing is counted, nor is a call that sends nothing; an empty datagram is something.
    SHOW(send(fds[0], bytes, 100, 0));
    show_notice(fds[0]);
    SHOW(send(fds[0], bytes, 0, MSG_ZEROCOPY));
    show_notice(fds[0]);
    NEED(recv(fds[1], got, 100, MSG_WAITALL) == 100);
    if (type == SOCK_DGRAM)
        NEED(recv(fds[1], got, sizeof got, 0) == 0);
    SHOW(send(fds[0], bytes, 10000, MSG_ZEROCOPY));
    NEED(recv(fds[1], got, 10000, MSG_WAITALL) == 10000);
    wait_for_notice(fds[0]);
    show_notice(fds[0]);
    show_notice(fds[0]);
    struct pollfd p = {fds[0], POLLIN, 0};
    SHOW(poll(&p, 1, 0));
    // A call that fails is not counted.
    if (type == SOCK_DGRAM)
        SHOW(send(fds[0], bytes, 100000, MSG_ZEROCOPY));
    // Notices that wait may be told together.
    for (int i = 0; i < 5; i++) {
        NEED(send(fds[0], bytes, 8000, MSG_ZEROCOPY) == 8000);
        NEED(recv(fds[1], got, 8000, MSG_WAITALL) == 8000);
    }
    show_calls(fds[0], type == SOCK_STREAM ? 5 : 6);
    // The other end has not asked for any, or gets no notices of what it does not send.
    value = 0;
    NEED(setsockopt(fds[0], SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value) == 0);
    SHOW(send(fds[0], bytes, 10, MSG_ZEROCOPY));
    NEED(recv(fds[1], got, 10, MSG_WAITALL) == 10);
    show_notice(fds[0]);
    show_notice(fds[1]);
    // An epoll set hears of it.
    value = 1;
    NEED(setsockopt(fds[0], SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value) == 0);
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLET};
    NEED(epoll_ctl(set, EPOLL_CTL_ADD, fds[0], &event) == 0);
    SHOW(epoll_wait(set, &event, 1, 0));
    NEED(send(fds[0], bytes, 8000, MSG_ZEROCOPY) == 8000 && recv(fds[1], got, 8000, MSG_WAITALL) == 8000);
    SHOW(epoll_wait(set, &event, 1, -1));
    SHOW(event.events == EPOLLERR);
    wait_for_notice(fds[0]);
    show_notice(fds[0]);
    close(set), close(fds[0]), close(fds[1]);
}

int main(void) {
    options();
    sending(AF_INET, SOCK_STREAM);
    sending(AF_INET6, SOCK_STREAM);
    sending(AF_INET, SOCK_DGRAM);
    sending(AF_INET6, SOCK_DGRAM);
    DONE();
}
