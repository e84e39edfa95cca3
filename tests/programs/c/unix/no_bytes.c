// Receiving no bytes: recv(2) waits for something to receive, and takes the descriptors that come with it, or a datagram; read(2) takes
// nothing, and does not wait.
#include "t.h"
#include <sys/socket.h>
#include <sys/uio.h>

static void show(int type, const char *name) {
    printf("%s\n", name);
    int s[2];
    char bytes[16] = "";
    NEED(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, s) == 0);
    struct iovec empty = {bytes, 0};
    struct msghdr none = {0}, one = {.msg_iov = &empty, .msg_iovlen = 1};
    SHOW(recv(s[0], bytes, 0, 0));
    SHOW(recv(s[0], bytes, 0, MSG_PEEK));
    SHOW(recv(s[0], bytes, 0, MSG_WAITALL));
    SHOW(recvmsg(s[0], &none, 0));
    SHOW(recvmsg(s[0], &one, 0));
    SHOW(read(s[0], bytes, 0));
    SHOW(readv(s[0], &empty, 1));
    SHOW(readv(s[0], NULL, 0));
    SHOW(send(s[1], bytes, 0, 0));
    SHOW(recv(s[0], bytes, 0, 0));
    SHOW(send(s[1], "xyz", 3, 0));
    SHOW(recv(s[0], bytes, 0, MSG_PEEK));
    SHOW(read(s[0], bytes, 0));
    SHOW(recv(s[0], bytes, sizeof bytes, 0));

    // A descriptor comes with a byte.
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    int in = dup(1);
    memcpy(CMSG_DATA(&control.header), &in, sizeof in);
    struct iovec byte = {"q", 1};
    struct msghdr given = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    SHOW(sendmsg(s[1], &given, 0));
    close(in);
    struct msghdr taken = {.msg_control = &control, .msg_controllen = sizeof control};
    SHOW(recvmsg(s[0], &taken, 0));
    SHOW(taken.msg_controllen);
    SHOW(taken.msg_flags);
    taken.msg_controllen = sizeof control;
    taken.msg_iov = &(struct iovec){bytes, sizeof bytes};
    taken.msg_iovlen = 1;
    SHOW(recvmsg(s[0], &taken, 0));
    SHOW(taken.msg_controllen);

    SHOW(shutdown(s[1], SHUT_WR));
    SHOW(recv(s[0], bytes, 0, 0));
    close(s[0]);
    close(s[1]);
}

int main(void) {
    show(SOCK_STREAM, "stream");
    show(SOCK_SEQPACKET, "packets");
    show(SOCK_DGRAM, "datagrams");
    char bytes[1];
    int unconnected = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(recv(unconnected, bytes, 0, 0));
    SHOW(read(unconnected, bytes, 0));
    DONE();
}
