// SO_TXTIME has control data say when a datagram is to leave (without a queueing discipline that uses it, it leaves at once).
// SO_RXQ_OVFL has each datagram tell how many were lost before it came, not before it is read.
#include "net.h"
#include <sched.h>

// <linux/net_tstamp.h>
struct txtime {
    int clock;
    unsigned flags;
};

static int send_at(int fd, const struct sockaddr_in *to, size_t bytes) {
    char data[4] = "when";
    struct iovec piece = {data, sizeof data};
    union {
        char bytes[CMSG_SPACE(8)];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_name = (void *)to, .msg_namelen = sizeof *to, .msg_iov = &piece, .msg_iovlen = 1};
    message.msg_control = &control, message.msg_controllen = CMSG_SPACE(bytes);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SO_TXTIME, header->cmsg_len = CMSG_LEN(bytes);
    return sendmsg(fd, &message, 0);
}

// Reads a datagram; what it says was lost before it, 0 if nothing.
static int lost_before(int fd) {
    char data[2048];
    struct iovec piece = {data, sizeof data};
    union {
        char bytes[CMSG_SPACE(4)];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(fd, &message, MSG_DONTWAIT) < 0)
        return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int lost = 0;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_RXQ_OVFL)
        memcpy(&lost, CMSG_DATA(header), sizeof lost);
    return lost;
}

// How many datagrams the socket has lost (proc(5), /proc/net/udp).
static int lost_by(const struct sockaddr_in *address) {
    FILE *list = fopen("/proc/net/udp", "r");
    CHECK(list != NULL);
    char line[256];
    int lost = -1;
    while (list && fgets(line, sizeof line, list)) {
        unsigned port;
        if (sscanf(line, " %*u: %*x:%x", &port) == 1 && port == ntohs(address->sin_port)) {
            // The last column.
            for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
                lost = atoi(word);
        }
    }
    if (list)
        fclose(list);
    return lost;
}

// Reads datagrams until as many as were sent have been read or lost; how many were read, and whether each told that `expected` were lost.
static int take_all(int fd, const struct sockaddr_in *address, int sent, int expected, bool *all_told) {
    int received = 0;
    *all_told = true;
    do {
        for (int lost; (lost = lost_before(fd)) >= 0; received++)
            *all_told &= lost == expected;
        sched_yield();
    } while (received + lost_by(address) < sent);
    return received;
}

int main(void) {
    int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    CHECK(bind(receiver, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(receiver, (struct sockaddr *)&address, &len) == 0);

    SHOW(send_at(sender, &address, 8));
    struct txtime times = {.clock = CLOCK_MONOTONIC, .flags = 4};
    SHOW(setsockopt(sender, SOL_SOCKET, SO_TXTIME, &times, sizeof times));
    times.flags = 2;
    SHOW(setsockopt(sender, SOL_SOCKET, SO_TXTIME, &times, 4));
    SHOW(setsockopt(sender, SOL_SOCKET, SO_TXTIME, &times, sizeof times));
    struct txtime told = {-1, -1};
    len = sizeof told;
    SHOW(getsockopt(sender, SOL_SOCKET, SO_TXTIME, &told, &len));
    printf("clock %d, flags %u, %u bytes\n", told.clock, told.flags, len);
    SHOW(send_at(sender, &address, 4));
    SHOW(send_at(sender, &address, 8));
    char data[2048] = {0};
    SHOW(recv(receiver, data, sizeof data, 0));
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
    SHOW(send_at(pair[0], NULL, 8));

    // As many as there is room for, and more.
    int on = 1, room = 16384, sent = 64;
    CHECK(setsockopt(receiver, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) == 0);
    CHECK(setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &room, sizeof room) == 0);
    CHECK(connect(sender, (struct sockaddr *)&address, sizeof address) == 0);
    for (int i = 0; i < sent; i++)
        CHECK(send(sender, data, sizeof data, 0) == sizeof data);
    bool knew = false;
    int received = take_all(receiver, &address, sent, 0, &knew), lost = sent - received;
    printf("some were lost: %d, of those that were kept none knew: %d\n", lost > 0, knew);
    for (int i = 0; i < sent; i++)
        CHECK(send(sender, data, sizeof data, 0) == sizeof data);
    int again = take_all(receiver, &address, 2 * sent - received, lost, &knew);
    printf("as many again: %d, each knew of the earlier ones: %d\n", again == received, knew);
    DONE();
}
