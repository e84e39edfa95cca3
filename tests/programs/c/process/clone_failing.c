// A clone that fails leaves nothing behind: no child, no descriptor.
#include "t.h"
#include <linux/sched.h>
#include <sys/wait.h>

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

int main(void) {
    void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int before = open_descriptors();
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (unsigned long)none, .exit_signal = SIGCHLD};
    SHOW(syscall(SYS_clone3, &args, sizeof args));
    SHOW(wait(NULL));
    args.flags |= CLONE_FILES;
    SHOW(syscall(SYS_clone3, &args, sizeof args));
    SHOW(wait(NULL));
    SHOW(open_descriptors() - before);
    SHOW(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, none, 0, 0));
    SHOW(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));
    SHOW(syscall(SYS_clone, CLONE_THREAD | CLONE_VM | SIGCHLD, 0, 0, 0, 0));
    SHOW(wait(NULL));
    SHOW(open_descriptors() - before);
    // And one that doesn't.
    int pidfd = -1;
    args = (struct clone_args){.flags = CLONE_PIDFD, .pidfd = (unsigned long)&pidfd, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(4);
    SHOW(open_descriptors() - before);
    siginfo_t info;
    SHOW(waitid(P_PIDFD, pidfd, &info, WEXITED));
    SHOW(info.si_status);
    SHOW(info.si_pid == pid);
    DONE();
}
