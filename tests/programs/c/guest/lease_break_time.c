// /proc/sys/fs/lease-break-time and leases-enable (proc(5)): a holder that does not give way loses its lease, or part of it.
// linux: no
// stdout-has: both went on
#include "t.h"
#include <sys/wait.h>

static void set(const char *name, const char *value) {
    int fd = open(name, O_WRONLY);
    NEED(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value));
    close(fd);
}

// The holder waits for the other program, and keeps its lease as long as it can.
static void outlast(int lease, int flags, int left) {
    int fd = open("file", O_RDONLY), status;
    NEED(fcntl(fd, F_SETLEASE, lease) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(fd);
        _exit(open("file", flags) >= 0 ? 0 : errno);
    }
    NEED(waitpid(child, &status, 0) == child && status == 0);
    CHECK(fcntl(fd, F_GETLEASE) == left);
    // With the lease goes its owner.
    CHECK((fcntl(fd, F_GETOWN) == getpid()) == (left != F_UNLCK));
    close(fd);
}

int main(void) {
    enter_scratch();
    signal(SIGIO, SIG_IGN);
    close(open("file", O_WRONLY | O_CREAT, 0644));
    set("/proc/sys/fs/lease-break-time", "1\n");
    outlast(F_WRLCK, O_WRONLY, F_UNLCK);
    outlast(F_RDLCK, O_RDWR, F_UNLCK);
    outlast(F_WRLCK, O_RDONLY, F_RDLCK);
    set("/proc/sys/fs/leases-enable", "0\n");
    int fd = open("file", O_RDONLY);
    CHECK(fcntl(fd, F_SETLEASE, F_RDLCK) == -1 && errno == EINVAL);
    int setting = open("/proc/sys/fs/lease-break-time", O_WRONLY);
    CHECK(write(setting, "soon", 4) == -1 && errno == EINVAL);
    if (t_failures == 0)
        puts("both went on");
    DONE();
}
