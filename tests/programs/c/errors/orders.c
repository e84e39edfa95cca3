// Which of two errors a call returns, where Linux looks at one argument before the other; and rights that some options need.
#include "t.h"
#include <linux/capability.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

int main(void) {
    const pid_t none = 4194000;
    const uid_t user = 1000;
    if (geteuid() == 0)
        NEED(setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
    SHOW(kill(none, 65));
    SHOW(kill(getpid(), 65));
    SHOW(setpgid(-1, 0));
    SHOW(setpgid(none, -1));
    SHOW(setpgid(none, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, -1};
    struct __user_cap_data_struct data[2];
    SHOW(syscall(SYS_capget, &header, data));
    header.pid = none;
    SHOW(syscall(SYS_capget, &header, data));
    SHOW(sched_get_priority_max(6));
    SHOW(sched_get_priority_min(6));
    SHOW(sched_get_priority_max(4));
    unsigned word = 0;
    SHOW(syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
    int pidfd;
    SHOW(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED, 0, &pidfd, 0, 0));
    SHOW(waitpid(-1, NULL, 0));
    sigset_t set;
    sigemptyset(&set);
    char bytes[8] = {0};
    int signals = signalfd(-1, &set, 0);
    SHOW(write(signals, bytes, sizeof bytes));
    SHOW(fcntl(signals, F_GETFL) & O_ACCMODE);
    int pair[2], socket_ = socket(AF_INET, SOCK_DGRAM, 0), size = 65536;
    SHOW(socketpair(AF_UNIX, 99, 0, pair));
    SHOW(setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size));
    SHOW(setsockopt(socket_, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size));
    SHOW(setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
    struct timespec wrong = {0, -1};
    SHOW(recvmmsg(-1, NULL, 1, 0, &wrong));
    DONE();
}
