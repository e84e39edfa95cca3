// SCM_CREDENTIALS: a sender that has no capabilities may say its own process and ids, and nothing else.
#include "net.h"

static ssize_t tell(int socket, pid_t pid, uid_t uid, gid_t gid, size_t len) {
    char control[CMSG_SPACE(sizeof(struct ucred))] = {0};
    struct iovec v = {"c", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    const struct ucred who = {.pid = pid, .uid = uid, .gid = gid};
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_CREDENTIALS;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), &who, sizeof who);
    return sendmsg(socket, &m, 0);
}

int main(void) {
    const uid_t user = 1000;
    if (geteuid() == 0)
        NEED(setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
    int s[2], on = 1;
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
    NEED(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    SHOW(tell(s[0], getpid(), 0, getgid(), sizeof(struct ucred)));
    SHOW(tell(s[0], getpid(), getuid(), 0, sizeof(struct ucred)));
    SHOW(tell(s[0], getppid(), getuid(), getgid(), sizeof(struct ucred)));
    SHOW(tell(s[0], getpid(), (uid_t)-1, getgid(), sizeof(struct ucred)));
    SHOW(tell(s[0], getpid(), getuid(), getgid(), sizeof(struct ucred) - 4));
    SHOW(tell(s[0], getpid(), getuid(), getgid(), sizeof(struct ucred)));
    char b[8], control[128];
    struct iovec v = {b, sizeof b};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SHOW(recvmsg(s[1], &m, MSG_DONTWAIT));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    NEED(c != NULL && c->cmsg_type == SCM_CREDENTIALS);
    const struct ucred *who = (struct ucred *)CMSG_DATA(c);
    CHECK(who->pid == getpid() && who->uid == getuid() && who->gid == getgid());
    SHOW(recvmsg(s[1], &m, MSG_DONTWAIT));
    DONE();
}
