// Files of /proc that can be set may be truncated, which changes nothing (pam_loginuid(8) does so before it writes); those opened for
// reading may not. A process that has ended keeps its name until it is waited for.
#include "t.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static void truncated(const char *name) {
    printf("%s\n", name);
    int fd = open(name, O_RDWR | O_NOFOLLOW);
    NEED(fd >= 0);
    SHOW(ftruncate(fd, 0));
    SHOW(ftruncate(fd, 100));
    SHOW(ftruncate(fd, -1));
    NEED(close(fd) == 0);
    SHOW(truncate(name, 0));
    fd = open(name, O_WRONLY | O_TRUNC);
    NEED(fd >= 0);
    NEED(close(fd) == 0);
    show_file(name);
    fd = open(name, O_RDONLY);
    NEED(fd >= 0);
    SHOW(ftruncate(fd, 0));
    NEED(close(fd) == 0);
}

static void name_of_ended(void) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_NAME, "has ended");
        _exit(0);
    }
    siginfo_t info;
    NEED(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int comm = open(path, O_RDONLY);
    NEED(comm >= 0 && read(comm, text, sizeof text - 1) > 0);
    NEED(close(comm) == 0);
    printf("comm: %s", text);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    NEED(close(fd) == 0);
    char *start = strchr(text, '('), *end = strrchr(text, ')');
    NEED(start && end);
    printf("in stat: %.*s %c\n", (int)(end - start + 1), start, end[2]);
    NEED(waitpid(pid, NULL, 0) == pid);
}

int main(void) {
    NEED(prctl(PR_SET_NAME, "a name") == 0 && prctl(PR_SET_TIMERSLACK, 50001) == 0);
    truncated("/proc/self/comm");
    truncated("/proc/self/timerslack_ns");
    name_of_ended();
    DONE();
}
