// io_uring: messages into provided buffers again and again (IORING_OP_RECVMSG with IORING_RECV_MULTISHOT), sending that tells when the
// buffer is free (IORING_OP_SEND_ZC, IORING_OP_SENDMSG_ZC), and cancelling that waits (IORING_REGISTER_SYNC_CANCEL).
#include "ring.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { GROUP = 3, BUFFERS = 8, ROOM = 128 };
static char buffers[BUFFERS][ROOM];

static void provide(struct ring *r) {
    struct io_uring_sqe *sqe = ring_next(r, IORING_OP_PROVIDE_BUFFERS, BUFFERS, 1);
    sqe->addr = (uintptr_t)buffers, sqe->len = ROOM, sqe->buf_group = GROUP;
    NEED(ring_submit(r, 1) == 1 && ring_take(r).res == 0);
}
static int datagram(struct sockaddr_in *own) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof *own;
    *own = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    NEED(fd >= 0 && bind(fd, (void *)own, sizeof *own) == 0 && getsockname(fd, (void *)own, &len) == 0);
    return fd;
}
static struct io_uring_sqe *receive(struct ring *r, int fd, struct msghdr *message, uint64_t data) {
    struct io_uring_sqe *sqe = ring_next(r, IORING_OP_RECVMSG, fd, data);
    sqe->addr = (uintptr_t)message, sqe->len = 1, sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = GROUP;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    return sqe;
}
static void show(struct ring *r, struct msghdr *message, const struct sockaddr_in *from) {
    struct completion cqe = ring_take(r);
    ring_print("message", cqe);
    if (!(cqe.flags & IORING_CQE_F_BUFFER))
        return;
    char *at = buffers[cqe.flags >> IORING_CQE_BUFFER_SHIFT];
    struct io_uring_recvmsg_out *out = (void *)at;
    char *name = at + sizeof *out, *control = name + message->msg_namelen, *payload = control + message->msg_controllen;
    int len = cqe.res - (payload - at);
    printf("name %u, control %u, payload %u, flags %#x: %d: %.*s\n", out->namelen, out->controllen, out->payloadlen, out->flags, len,
           len > 40 ? 40 : len, payload);
    if (from && out->namelen && message->msg_namelen >= sizeof *from)
        SHOW(memcmp(name, from, 8) == 0);
    if (out->controllen) {
        struct cmsghdr *head = (void *)control;
        printf("control data: level %d, type %d, %d bytes\n", head->cmsg_level, head->cmsg_type, (int)head->cmsg_len);
    }
}

static void messages(void) {
    puts("-- messages");
    struct ring r;
    ring_open(&r, 8, NULL);
    provide(&r);
    struct sockaddr_in to, from;
    int server = datagram(&to), client = datagram(&from), on = 1;
    NEED(setsockopt(server, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
    struct msghdr message = {.msg_namelen = sizeof from, .msg_controllen = 32};
    receive(&r, server, &message, 7);
    SHOW(ring_submit(&r, 0));
    const char *texts[] = {"one", "second", "the third"};
    for (int i = 0; i < 3; i++) {
        NEED(sendto(client, texts[i], strlen(texts[i]), 0, (void *)&to, sizeof to) > 0);
        show(&r, &message, &from);
    }
    // More than there is room for is cut.
    static char big[200];
    memset(big, 'b', sizeof big);
    NEED(sendto(client, big, sizeof big, 0, (void *)&to, sizeof to) == sizeof big);
    show(&r, &message, &from);
    // It is cancelled.
    struct io_uring_sqe *sqe = ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 9);
    sqe->addr = 7;
    ring_show(&r, "cancel", 2);
    // Without a name, without control data, with a vector of one.
    struct iovec vector = {.iov_len = 40};
    struct msghdr plain = {.msg_iov = &vector, .msg_iovlen = 1};
    receive(&r, server, &plain, 8);
    SHOW(ring_submit(&r, 0));
    NEED(sendto(client, "plain", 5, 0, (void *)&to, sizeof to) == 5);
    show(&r, &plain, NULL);
    sqe = ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 9);
    sqe->addr = 8;
    ring_show(&r, "cancel", 2);
    // What is wrong.
    struct msghdr wide = {.msg_namelen = 100, .msg_controllen = 100};
    receive(&r, server, &wide, 10);
    NEED(sendto(client, "x", 1, 0, (void *)&to, sizeof to) == 1);
    ring_show(&r, "no room", 1);
    struct iovec two[2] = {{.iov_len = 10}, {.iov_len = 10}};
    struct msghdr long_vector = {.msg_iov = two, .msg_iovlen = 2};
    receive(&r, server, &long_vector, 11);
    ring_show(&r, "two pieces", 1);
    receive(&r, server, &message, 12)->flags = 0;
    ring_show(&r, "no group", 1);
    receive(&r, server, &message, 13)->msg_flags = MSG_WAITALL;
    ring_show(&r, "MSG_WAITALL", 1);
    close(server), close(client), close(r.fd);
}

static void streams(void) {
    puts("-- the end of a stream, and of buffers");
    struct ring r;
    ring_open(&r, 8, NULL);
    int pair[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    provide(&r);
    struct msghdr message = {0};
    receive(&r, pair[0], &message, 1);
    SHOW(ring_submit(&r, 0));
    NEED(write(pair[1], "bytes", 5) == 5);
    show(&r, &message, NULL);
    close(pair[1]);
    show(&r, &message, NULL);
    close(pair[0]);
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    receive(&r, pair[0], &message, 2);
    SHOW(ring_submit(&r, 0));
    for (int i = 0; i < BUFFERS - 2; i++) {
        NEED(write(pair[1], "datagram", 8) == 8);
        show(&r, &message, NULL);
    }
    NEED(write(pair[1], "datagram", 8) == 8);
    show(&r, &message, NULL);
    close(pair[0]), close(pair[1]), close(r.fd);
}

// The completions of a send: the one that counts, and that the buffer is free.
static void sent(struct ring *r, const char *what) {
    SHOW(ring_submit(r, 1));
    struct completion cqe = ring_take(r);
    ring_print(what, cqe);
    if (!(cqe.flags & IORING_CQE_F_MORE))
        return;
    cqe = ring_take(r);
    printf("then %llu: %d, notification %d, more %d\n", (unsigned long long)cqe.user_data, cqe.res,
           !!(cqe.flags & IORING_CQE_F_NOTIF), !!(cqe.flags & IORING_CQE_F_MORE));
}
static void got(int fd) {
    char text[64];
    ssize_t n = recv(fd, text, sizeof text, 0);
    printf("received %zd: %.*s\n", n, n > 0 ? (int)n : 0, text);
}
static void zero_copy(void) {
    puts("-- without a copy");
    struct ring r;
    ring_open(&r, 8, NULL);
    struct sockaddr_in to, from;
    int server = datagram(&to), client = datagram(&from);
    static char text[] = "no copy of this";
    struct io_uring_sqe *sqe = ring_bytes(&r, IORING_OP_SEND_ZC, client, text, 7, 0, 1);
    sqe->addr2 = (uintptr_t)&to, sqe->addr_len = sizeof to;
    sent(&r, "with address");
    got(server);
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text, 7, 0, 2);
    sent(&r, "without");
    // The address is looked at when it is submitted.
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in passing = to;
        sqe = ring_bytes(&r, i ? IORING_OP_SEND : IORING_OP_SEND_ZC, client, text, 7, 0, 20 + i);
        sqe->addr2 = (uintptr_t)&passing, sqe->addr_len = sizeof passing, sqe->flags = IOSQE_ASYNC;
        NEED(ring_submit(&r, 0) == 1);
        memset(&passing, 0, sizeof passing);
        ring_print("passing address", ring_take(&r));
        if (i == 0)
            CHECK(ring_take(&r).flags & IORING_CQE_F_NOTIF);
        got(server);
    }
    NEED(connect(client, (void *)&to, sizeof to) == 0);
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text, sizeof text - 1, 0, 3)->ioprio = IORING_RECVSEND_POLL_FIRST;
    sent(&r, "connected");
    got(server);
    struct iovec pieces[2] = {{text, 3}, {text + 8, 7}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ring_bytes(&r, IORING_OP_SENDMSG_ZC, client, &message, 1, 0, 4);
    sent(&r, "message");
    got(server);
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text, 7, 0, 5)->ioprio = IORING_RECVSEND_FIXED_BUF;
    sent(&r, "no registered buffer");
    struct iovec whole = {text, sizeof text};
    NEED(ring_register(&r, IORING_REGISTER_BUFFERS, &whole, 1) == 0);
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text + 3, 4, 0, 6)->ioprio = IORING_RECVSEND_FIXED_BUF;
    sent(&r, "registered buffer");
    got(server);
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text + 3, 40, 0, 7)->ioprio = IORING_RECVSEND_FIXED_BUF;
    sent(&r, "beyond it");
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text, 7, 0, 8)->flags = IOSQE_CQE_SKIP_SUCCESS;
    sent(&r, "silent");
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text, 7, 0, 9)->ioprio = 1 << 10;
    sent(&r, "unknown flag");
    ring_bytes(&r, IORING_OP_SENDMSG_ZC, client, &message, 1, 1, 10);
    sent(&r, "second address");
    int pair[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    ring_bytes(&r, IORING_OP_SEND_ZC, pair[0], text, 7, 0, 11);
    sent(&r, "AF_UNIX");
    ring_bytes(&r, IORING_OP_SEND_ZC, STDIN_FILENO, text, 7, 0, 12);
    sent(&r, "no socket");
    // What follows in the chain is sent after it.
    ring_bytes(&r, IORING_OP_SEND_ZC, client, text, 7, 0, 13)->flags = IOSQE_IO_LINK;
    ring_bytes(&r, IORING_OP_SEND, client, text + 8, 7, 0, 14);
    NEED(ring_submit(&r, 3) == 2);
    int seen = 0;
    for (int i = 0; i < 3; i++) {
        struct completion cqe = ring_take(&r);
        CHECK(cqe.flags & IORING_CQE_F_NOTIF || cqe.res == 7);
        seen += cqe.user_data;
    }
    SHOW(seen);
    got(server), got(server);
    close(server), close(client), close(pair[0]), close(pair[1]), close(r.fd);
}

static int cancel(struct ring *r, uint64_t data, int fd, unsigned flags, int64_t nanoseconds) {
    struct io_uring_sync_cancel_reg which = {.addr = data, .fd = fd, .flags = flags, .timeout = {-1, -1}};
    if (nanoseconds >= 0)
        which.timeout.tv_sec = 0, which.timeout.tv_nsec = nanoseconds;
    return ring_register(r, IORING_REGISTER_SYNC_CANCEL, &which, 1);
}
static void cancelling(void) {
    puts("-- cancelling");
    struct ring r;
    ring_open(&r, 8, NULL);
    int pipes[2], other[2];
    NEED(pipe(pipes) == 0 && pipe(other) == 0);
    static char text[3][8];
    SHOW(cancel(&r, 1, -1, 0, -1));
    ring_bytes(&r, IORING_OP_READ, pipes[0], text[0], 8, 0, 1);
    NEED(ring_submit(&r, 0) == 1);
    SHOW(cancel(&r, 2, -1, 0, -1));
    SHOW(cancel(&r, 1, -1, 0, -1));
    ring_print("read", ring_take(&r));
    for (int i = 0; i < 3; i++)
        ring_bytes(&r, IORING_OP_READ, i < 2 ? pipes[0] : other[0], text[i], 8, 0, 3 + i);
    NEED(ring_submit(&r, 0) == 3);
    SHOW(cancel(&r, 0, pipes[0], IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, 1000000));
    SHOW(cancel(&r, 0, pipes[0], IORING_ASYNC_CANCEL_FD, 1000000));
    SHOW(cancel(&r, 0, -1, IORING_ASYNC_CANCEL_ANY, -1));
    SHOW(cancel(&r, 0, -1, IORING_ASYNC_CANCEL_FD, -1));
    SHOW(cancel(&r, 0, -1, 1 << 20, -1));
    for (int i = 0; i < 3; i++) {
        struct completion cqe = ring_take(&r);
        CHECK(cqe.res == -ECANCELED);
    }
    struct io_uring_sync_cancel_reg which = {.addr = 1};
    uint64_t *last = (uint64_t *)(&which + 1) - 1;
    *last = 1;
    SHOW(ring_register(&r, IORING_REGISTER_SYNC_CANCEL, &which, 1));
    *last = 0;
    SHOW(ring_register(&r, IORING_REGISTER_SYNC_CANCEL, &which, 2));
    SHOW(ring_register(&r, IORING_REGISTER_SYNC_CANCEL, NULL, 1));
    close(r.fd);
}

int main(void) {
    messages();
    streams();
    zero_copy();
    cancelling();
    DONE();
}
