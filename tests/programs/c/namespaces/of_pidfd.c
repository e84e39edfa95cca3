// PIDFD_GET_*_NAMESPACE, which Linux has since 6.11: the namespaces of a process by its descriptor, as /proc/PID/ns has them.
// linux: no
// stdout-has: all are those of /proc
// stdout-has: argument: EINVAL, unknown: ENOTTY, ended: ESRCH
#include "t.h"
#include <sys/ioctl.h>
#include <sys/wait.h>

static bool same(int fd, pid_t pid, const char *name) {
    char path[64];
    struct stat by_pidfd, by_proc;
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
    return fd >= 0 && fstat(fd, &by_pidfd) == 0 && stat(path, &by_proc) == 0 && by_pidfd.st_ino == by_proc.st_ino &&
           by_pidfd.st_dev == by_proc.st_dev && fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

int main(void) {
    static const char *const NAMES[] = {"cgroup", "ipc",  "mnt",               "net",  "pid", "pid_for_children",
                                        "time",   "time_for_children", "user", "uts"};
    int ready[2], differ = 0;
    char byte;
    NEED(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        NEED(syscall(SYS_unshare, 0x04000000 /* CLONE_NEWUTS */) == 0);
        NEED(write(ready[1], "", 1) == 1);
        pause();
        _exit(0);
    }
    NEED(child > 0 && read(ready[0], &byte, 1) == 1);
    int pidfd = syscall(SYS_pidfd_open, child, 0);
    NEED(pidfd >= 0);
    for (int i = 0; i < 10; i++) {
        int fd = ioctl(pidfd, _IO(0xff, 1 + i), 0);
        if (!same(fd, child, NAMES[i]))
            printf("%s differs\n", NAMES[i]), differ++;
        close(fd);
    }
    if (!differ)
        puts("all are those of /proc");
    printf("argument: %s", ioctl(pidfd, _IO(0xff, 1), 1) == -1 ? t_errno(errno) : "taken");
    printf(", unknown: %s", ioctl(pidfd, _IO(0xff, 99), 0) == -1 ? t_errno(errno) : "taken");
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    printf(", ended: %s\n", ioctl(pidfd, _IO(0xff, 1), 0) == -1 ? t_errno(errno) : "opened");
    DONE();
}
