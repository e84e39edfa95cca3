// seccomp: calls that another process decides about (SECCOMP_RET_USER_NOTIF).
// flags: -pthread
#include "t.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)

static int install(unsigned flags) {
    struct sock_filter code[] = {LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1), RETURN(SECCOMP_RET_USER_NOTIF),
                                 RETURN(SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {4, code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
static void pass(int socket, int fd) {
    char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    NEED(sendmsg(socket, &message, 0) == 1);
}
static int take(int socket) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    NEED(recvmsg(socket, &message, 0) == 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}
static void nothing(int signal) { (void)signal; }

static int events_of(int fd, int timeout) {
    struct pollfd one = {fd, POLLIN | POLLOUT, 0};
    NEED(poll(&one, 1, timeout) >= 0);
    return one.revents & (POLLIN | POLLOUT | POLLHUP);
}

int main(void) {
    enter_scratch();
    struct seccomp_notif_sizes sizes;
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes));
    printf("%d %d %d\n", sizes.seccomp_notif, sizes.seccomp_notif_resp, sizes.seccomp_data);
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 1, &sizes));
    uint32_t action = SECCOMP_RET_USER_NOTIF;
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
    int pair[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(freopen("first", "w", stdout) != NULL);
        struct sigaction once = {.sa_handler = nothing};
        sigaction(SIGUSR1, &once, NULL);
        SHOW(install(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC));
        // On some architectures getpgrp(3) is a call of getpgid(2).
        pid_t group = getpgrp();
        int fd = install(SECCOMP_FILTER_FLAG_NEW_LISTENER);
        NEED(fd >= 0);
        SHOW(fcntl(fd, F_GETFD));
        SHOW(install(SECCOMP_FILTER_FLAG_NEW_LISTENER));
        pass(pair[1], fd);
        close(fd);
        SHOW(syscall(SYS_getpgid, 1));
        SHOW(syscall(SYS_getpgid, 2));
        SHOW(syscall(SYS_getpgid, 0) == group);
        int got = syscall(SYS_getpgid, 4);
        SHOW(got >= 0 && fcntl(got, F_GETFD) == FD_CLOEXEC);
        SHOW(write(got, "through", 7));
        SHOW(syscall(SYS_getpgid, 5));
        SHOW(write(77, "and", 3));
        SHOW(syscall(SYS_getpgid, 6));
        SHOW(syscall(SYS_getpgid, 7));
        fflush(stdout);
        _exit(0);
    }
    int fd = take(pair[0]);
    struct seccomp_notif asked;
    struct seccomp_notif_resp answer = {0};
#define RECEIVE() (memset(&asked, 0, sizeof asked), ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked))
#define ANSWER(...) (answer = (struct seccomp_notif_resp){.id = asked.id, __VA_ARGS__}, ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer))
    SHOW(events_of(fd, -1) == POLLIN);
    asked.id = 1;
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked));
    SHOW(RECEIVE());
    printf("call %s, argument %d, from %s, flags %d\n", asked.data.nr == SYS_getpgid ? "getpgid" : "?", (int)asked.data.args[0],
           asked.pid == (unsigned)pid ? "the child" : "?", asked.flags);
    SHOW(events_of(fd, 0) == POLLOUT);
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked.id));
    uint64_t other = asked.id + 1;
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &other));
    SHOW(ANSWER(.flags = 2));
    SHOW(ANSWER(.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE, .val = 1));
    SHOW(ANSWER(.id = other));
    SHOW(ANSWER(.val = 4321));
    SHOW(RECEIVE());
    SHOW(ANSWER(.error = -EXDEV));
    SHOW(RECEIVE());
    SHOW(ANSWER(.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE));
    // Descriptors for the child.
    int ends[2];
    char text[16] = "";
    NEED(pipe(ends) == 0);
    SHOW(RECEIVE());
    struct seccomp_notif_addfd add = {.id = asked.id, .flags = 8, .srcfd = ends[1]};
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
    add.flags = 0, add.newfd = 5;
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
    add.newfd = 0, add.srcfd = 999;
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
    add.srcfd = ends[1], add.id = other;
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
    add.id = asked.id, add.newfd_flags = O_CLOEXEC;
    // A longer structure, of a Linux that is not there yet, must have zeros behind what is known.
    struct {
        struct seccomp_notif_addfd known;
        uint64_t more;
    } longer = {add, 1};
    SHOW(ioctl(fd, _IOW('!', 3, longer), &longer));
    longer.more = 0;
    SHOW(ioctl(fd, _IOWR('!', 3, longer), &longer) >= 0);
    SHOW(ioctl(fd, _IOW('!', 3, uint64_t), &longer));
    int theirs = ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    SHOW(theirs >= 0);
    SHOW(ANSWER(.val = theirs));
    SHOW(read(ends[0], text, sizeof text));
    printf("%s\n", text);
    SHOW(RECEIVE());
    add = (struct seccomp_notif_addfd){.id = asked.id, .flags = SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND, .srcfd = ends[1], .newfd = 77};
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
    NEED(read(ends[0], text, sizeof text) == 3);
    // A signal ends the waiting.
    SHOW(RECEIVE());
    NEED(kill(pid, SIGUSR1) == 0);
    WAIT_UNTIL(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked.id) == -1);
    SHOW(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked.id));
    SHOW(ANSWER(.val = 1));
    SHOW(RECEIVE());
    printf("argument %d\n", (int)asked.data.args[0]);
    SHOW(ANSWER(.val = 77));
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    printf("status %x\n", status);
    WAIT_UNTIL(events_of(fd, 0) == POLLHUP);
    SHOW(RECEIVE());
    close(fd);
    // A listener that goes.
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        NEED(freopen("second", "w", stdout) != NULL);
        int own = install(SECCOMP_FILTER_FLAG_NEW_LISTENER);
        pass(pair[1], own);
        close(own);
        SHOW(syscall(SYS_getpgid, 0));
        SHOW(syscall(SYS_getpgid, 0));
        fflush(stdout);
        _exit(0);
    }
    fd = take(pair[0]);
    SHOW(RECEIVE());
    close(fd);
    NEED(waitpid(pid, &status, 0) == pid);
    printf("status %x\n", status);
    // What the children have printed.
    show_file("first");
    show_file("second");
    DONE();
}
