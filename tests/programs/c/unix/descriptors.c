// SCM_RIGHTS passes descriptors, SCM_CREDENTIALS tells who sent.
#include "net.h"

static int send_fds(int socket, const int *fd, int n) {
    char control[CMSG_SPACE(sizeof(int) * 4)] = {0};
    struct iovec v = {"f", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
    memcpy(CMSG_DATA(c), fd, sizeof(int) * (size_t)n);
    return (int)sendmsg(socket, &m, 0);
}
static int receive_fds(int socket, int *fd, int flags) {
    char control[CMSG_SPACE(sizeof(int) * 4)], b[8];
    struct iovec v = {b, 8};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(socket, &m, flags) < 0)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c)
        return 0;
    int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fd, CMSG_DATA(c), sizeof(int) * (size_t)n);
    return n;
}

int main(void) {
    enter_scratch();
    int s[2], p[2], got[4];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(p) == 0);
    write_file("f", "file text");
    int f = open("f", O_RDONLY), fds[2] = {p[1], f};
    SHOW(send_fds(s[0], fds, 2));
    close(p[1]);
    close(f);
    SHOW(receive_fds(s[1], got, MSG_CMSG_CLOEXEC));
    SHOW(fcntl(got[0], F_GETFD));
    SHOW(write(got[0], "through", 7));
    char b[32] = {0};
    SHOW(read(p[0], b, 32));
    puts(b);
    memset(b, 0, sizeof b);
    SHOW(read(got[1], b, 32));
    puts(b);
    close(got[0]);
    SHOW(read(p[0], b, 32));
    // Descriptors in flight are closed with the socket.
    NEED(pipe(p) == 0);
    SHOW(send_fds(s[0], &p[1], 1));
    close(p[1]);
    close(s[0]);
    close(s[1]);
    SHOW(read(p[0], b, 32));
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
    int bad = 999;
    SHOW(send_fds(s[0], &bad, 1));
    int on = 1;
    SHOW(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    write(s[0], "who", 3);
    char control[128];
    struct iovec v = {b, 32};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SHOW(recvmsg(s[1], &m, 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_type == SCM_CREDENTIALS && ((struct ucred *)CMSG_DATA(c))->pid == getpid());
    DONE();
}
