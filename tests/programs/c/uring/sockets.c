// io_uring(7): what it does with sockets and pipes: accept, connect, send, receive, messages, provided buffers, many by one submission.
// machines: all
#include "ring.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { SIZE = 64, COUNT = 4, GROUP = 3 };
static struct ring r;
static char memory[COUNT][SIZE];

static int listener(struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(bind(fd, (void *)address, len) == 0 && listen(fd, 8) == 0 && getsockname(fd, (void *)address, &len) == 0);
    return fd;
}

static void connections(int *client, int *server) {
    struct sockaddr_in address;
    int listening = listener(&address);
    *client = socket(AF_INET, SOCK_STREAM, 0);
    ring_next(&r, IORING_OP_ACCEPT, listening, 1);
    ring_bytes(&r, IORING_OP_CONNECT, *client, &address, 0, sizeof address, 2);
    CHECK(ring_submit(&r, 2) == 2);
    for (int n = 0; n < 2; n++) {
        struct completion cqe = ring_take(&r);
        if (cqe.user_data == 1)
            *server = cqe.res;
        else
            SHOW(cqe.res);
    }
    CHECK(*server > 0);
    // All that come, by one submission.
    ring_next(&r, IORING_OP_ACCEPT, listening, 3)->ioprio = IORING_ACCEPT_MULTISHOT;
    CHECK(ring_submit(&r, 0) == 1);
    for (int n = 0; n < 3; n++) {
        int one = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(one, (void *)&address, sizeof address) == 0);
        struct completion cqe = ring_take(&r);
        CHECK(cqe.user_data == 3 && cqe.res > 0 && cqe.flags & IORING_CQE_F_MORE);
        close(one), close(cqe.res);
    }
    ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 4)->addr = 3;
    ring_show(&r, "accept no more", 2);
    close(listening);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    ring_bytes(&r, IORING_OP_CONNECT, other, &address, 0, sizeof address, 1);
    ring_show(&r, "nobody listens", 1);
    close(other);
}

static void bytes_and_messages(int client, int server) {
    char in[SIZE] = {0};
    ring_bytes(&r, IORING_OP_RECV, server, in, SIZE, 0, 1);
    SHOW(ring_submit(&r, 0));
    ring_bytes(&r, IORING_OP_SEND, client, "hello", 5, 0, 2);
    ring_show(&r, "send and receive", 2);
    printf("%s\n", in);
    // All of it, though it comes in parts.
    ring_bytes(&r, IORING_OP_RECV, server, in, 10, 0, 1)->msg_flags = MSG_WAITALL;
    CHECK(ring_submit(&r, 0) == 1);
    CHECK(write(client, "first", 5) == 5 && ring_enter(&r, 0, 0, IORING_ENTER_GETEVENTS) == 0 && write(client, "other", 5) == 5);
    ring_print("all", ring_take(&r));
    printf("%.10s\n", in);
    struct iovec parts[] = {{"a ", 2}, {"message", 7}}, places[] = {{in, 3}, {in + 20, 30}};
    struct msghdr out = {.msg_iov = parts, .msg_iovlen = 2}, got = {.msg_iov = places, .msg_iovlen = 2};
    memset(in, 0, sizeof in);
    ring_bytes(&r, IORING_OP_RECVMSG, server, &got, 1, 0, 1);
    CHECK(ring_submit(&r, 0) == 1);
    ring_bytes(&r, IORING_OP_SENDMSG, client, &out, 1, 0, 2);
    ring_show(&r, "messages", 2);
    printf("%s, %s\n", in, in + 20);
    ring_bytes(&r, IORING_OP_RECV, server, in, SIZE, 0, 1)->msg_flags = MSG_DONTWAIT;
    ring_show(&r, "don't wait", 1);
    ring_bytes(&r, IORING_OP_RECV, 0, in, SIZE, 0, 1);
    ring_show(&r, "not a socket", 1);
}

static void provided(int client, int server) {
    struct io_uring_sqe *sqe = ring_bytes(&r, IORING_OP_PROVIDE_BUFFERS, 2, memory, SIZE, 0, 1);
    sqe->buf_group = GROUP;
    ring_show(&r, "provide", 1);
    ring_bytes(&r, IORING_OP_RECV, server, NULL, SIZE, 0, 1);
    sqe = &r.sqes[(*r.sq_tail) & r.mask];
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = GROUP;
    CHECK(ring_submit(&r, 0) == 1 && write(client, "chosen", 6) == 6);
    struct completion cqe = ring_take(&r);
    ring_print("chosen", cqe);
    CHECK(cqe.flags & IORING_CQE_F_BUFFER);
    printf("%u: %.6s\n", cqe.flags >> IORING_CQE_BUFFER_SHIFT, memory[cqe.flags >> IORING_CQE_BUFFER_SHIFT]);
    // By one submission, until the buffers are gone.
    ring_bytes(&r, IORING_OP_PROVIDE_BUFFERS, 1, memory[2], SIZE, 2, 1)->buf_group = GROUP;
    ring_show(&r, "one more", 1);
    sqe = ring_next(&r, IORING_OP_RECV, server, 2);
    sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = GROUP, sqe->ioprio = IORING_RECV_MULTISHOT;
    CHECK(ring_submit(&r, 0) == 1);
    for (int n = 0; n < 3; n++) {
        CHECK(write(client, "xyz", 1 + n) == 1 + n);
        ring_print("many", ring_take(&r));
    }
    char rest[8];
    SHOW(read(server, rest, sizeof rest));
    ring_next(&r, IORING_OP_REMOVE_BUFFERS, 5, 1)->buf_group = GROUP;
    ring_show(&r, "remove", 1);
    ring_next(&r, IORING_OP_REMOVE_BUFFERS, 5, 1)->buf_group = 99;
    ring_show(&r, "remove what is not there", 1);
}

static void pipes(void) {
    int ends[2];
    char in[4];
    CHECK(pipe(ends) == 0);
    ring_bytes(&r, IORING_OP_READ, ends[0], in, 4, 0, 1);
    ring_bytes(&r, IORING_OP_WRITE, ends[1], "pipe", 4, 0, 2);
    ring_show(&r, "pipe", 2);
    ring_bytes(&r, IORING_OP_READ, ends[0], in, 4, 0, 1);
    CHECK(ring_submit(&r, 0) == 1);
    close(ends[1]);
    ring_print("end", ring_take(&r));
    close(ends[0]);
}

// A request of several completions ends with the one for which its ring has no room, and what it would have taken stays.
static void full(void) {
    enum { CONNECTIONS = 6, MESSAGES = 7, PLACES = 4 };
    struct io_uring_params p = {.flags = IORING_SETUP_CQSIZE, .cq_entries = PLACES};
    struct ring small;
    ring_open(&small, PLACES, &p);
    struct sockaddr_in address;
    int listening = listener(&address), clients[CONNECTIONS];
    for (int n = 0; n < CONNECTIONS; n++) {
        clients[n] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(clients[n], (void *)&address, sizeof address) == 0);
    }
    ring_next(&small, IORING_OP_ACCEPT, listening, 1)->ioprio = IORING_ACCEPT_MULTISHOT;
    SHOW(ring_submit(&small, 0));
    for (int n = 0; n <= PLACES; n++) {
        struct completion cqe = ring_take(&small);
        CHECK(cqe.res > 0);
        close(cqe.res);
        cqe.res = 0;
        ring_print("accepted", cqe);
    }
    CHECK(ring_ready(&small) == 0);
    fcntl(listening, F_SETFL, O_NONBLOCK);
    int last = accept(listening, NULL, NULL);
    CHECK(last > 0);
    SHOW(accept(listening, NULL, NULL));
    close(last), close(listening);
    for (int n = 0; n < CONNECTIONS; n++)
        close(clients[n]);

    static char bytes[MESSAGES][SIZE];
    struct io_uring_sqe *sqe = ring_bytes(&small, IORING_OP_PROVIDE_BUFFERS, MESSAGES, bytes, SIZE, 0, 1);
    sqe->buf_group = GROUP;
    ring_show(&small, "provide", 1);
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    for (int n = 1; n <= MESSAGES; n++)
        CHECK(write(pair[1], "1234567", n) == n);
    sqe = ring_next(&small, IORING_OP_RECV, pair[0], 2);
    sqe->ioprio = IORING_RECV_MULTISHOT, sqe->flags = IOSQE_BUFFER_SELECT, sqe->buf_group = GROUP;
    SHOW(ring_submit(&small, 0));
    for (int n = 0; n <= PLACES; n++)
        ring_print("received", ring_take(&small));
    CHECK(ring_ready(&small) == 0);
    SHOW(recv(pair[0], bytes[0], SIZE, MSG_DONTWAIT));
    SHOW(recv(pair[0], bytes[0], SIZE, MSG_DONTWAIT));
    SHOW(recv(pair[0], bytes[0], SIZE, MSG_DONTWAIT));
    close(pair[0]), close(pair[1]);

    int event = eventfd(0, 0);
    sqe = ring_next(&small, IORING_OP_POLL_ADD, event, 3);
    sqe->poll32_events = POLLIN, sqe->len = IORING_POLL_ADD_MULTI;
    SHOW(ring_submit(&small, 0));
    for (unsigned n = 1; n <= PLACES + 2; n++) {
        CHECK(write(event, &(uint64_t){1}, 8) == 8);
        if (n <= PLACES)
            CHECK(ring_enter(&small, 0, n, IORING_ENTER_GETEVENTS) == 0);
        else
            WAIT_UNTIL(__atomic_load_n(small.sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_CQ_OVERFLOW);
    }
    for (int n = 0; n <= PLACES; n++)
        ring_print("polled", ring_take(&small));
    CHECK(ring_ready(&small) == 0);
    close(event), close(small.fd);
}

int main(void) {
    int client, server = -1;
    signal(SIGPIPE, SIG_IGN);
    ring_open(&r, 8, NULL);
    connections(&client, &server);
    bytes_and_messages(client, server);
    provided(client, server);
    pipes();
    ring_bytes(&r, IORING_OP_RECV, server, memory, SIZE, 0, 1);
    CHECK(ring_submit(&r, 0) == 1);
    ring_next(&r, IORING_OP_SHUTDOWN, client, 2)->len = SHUT_WR;
    ring_show(&r, "shut down", 2);
    full();
    return t_failures;
}
