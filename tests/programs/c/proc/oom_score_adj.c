// /proc/self/oom_score_adj keeps what is written to it, within its bounds, and a child begins with its parent's.
#include "t.h"
#include <sys/wait.h>

static void set(const char *name, const char *value) {
    int fd = open(name, O_WRONLY);
    NEED(fd >= 0);
    ssize_t done = write(fd, value, strlen(value));
    printf("%s to %s: %s\n", value, name, done < 0 ? t_errno(errno) : "written");
    close(fd);
}

int main(void) {
    const char *name = "/proc/self/oom_score_adj";
    // Raising needs no privilege, whatever the program was started with.
    set(name, "1000\n");
    show_file(name);
    show_file("/proc/self/oom_adj");
    set(name, "1001");
    set(name, "-1001");
    set(name, "much");
    set(name, "");
    show_file(name);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        show_file(name);
        _exit(0);
    }
    NEED(waitpid(pid, NULL, 0) == pid);
    DONE();
}
