// Threads that send, receive, shut down, replace and pass on the same AF_UNIX sockets and pipes at once, and splice
// between them.
// machines: all
// flags: -pthread
#include "stress.h"
#include <sys/socket.h>
#include <sys/uio.h>

enum { FIRST = 100, PAIRS = 8 };

static void make(int pair) {
    int ends[2], kind = (int)below(4);
    const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    if (kind == 3 ? pipe2(ends, O_NONBLOCK) : socketpair(AF_UNIX, kinds[kind] | SOCK_NONBLOCK, 0, ends))
        return;
    dup2(ends[0], FIRST + 2 * pair);
    dup2(ends[1], FIRST + 2 * pair + 1);
    close(ends[0]);
    close(ends[1]);
}

static void pass(int socket, int fd) {
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void take(int socket) {
    char control[CMSG_SPACE(4 * sizeof(int))], bytes[100];
    struct iovec v = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(socket, &m, MSG_DONTWAIT | (below(4) ? 0 : MSG_PEEK)) <= 0)
        return;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS) {
        int fd;
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
        close(fd);
    }
}

static void stress_step(unsigned thread) {
    (void)thread;
    static __thread char bytes[65536];
    int fd = FIRST + (int)below(2 * PAIRS), other = FIRST + (int)below(2 * PAIRS);
    switch (below(10)) {
    case 0: send(fd, bytes, below(60000), MSG_DONTWAIT | MSG_NOSIGNAL); break;
    case 1: recv(fd, bytes, below(60000), MSG_DONTWAIT); break;
    case 2: shutdown(fd, (int)below(3)); break;
    case 3: make((int)below(PAIRS)); break;
    case 4:
    case 5: pass(fd, other); break;
    case 6: take(fd); break;
    case 7: (void)!write(fd, bytes, below(60000)); break;
    case 8: (void)!read(fd, bytes, below(60000)); break;
    case 9: splice(fd, NULL, other, NULL, below(60000), SPLICE_F_NONBLOCK); break;
    }
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < PAIRS; i++)
        make(i);
    stress();
    DONE();
}
