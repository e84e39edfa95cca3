// Files in /proc of a process that others may not look into belong to root (proc(5), /proc/pid).
#include "t.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static void owners(void) {
    static const char *const names[] = {"", "/status", "/environ", "/fd", "/ns", "/task", "/net", "/oom_score_adj", "/maps", "/task"};
    char path[64];
    struct stat st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "/proc/self%s%s", names[i], i ? "" : "/");
        NEED(stat(path, &st) == 0);
        printf("%s: %d %d\n", names[i], st.st_uid, st.st_gid);
    }
    snprintf(path, sizeof path, "/proc/self/task/%d/status", getpid());
    NEED(stat(path, &st) == 0);
    printf("task: %d %d\n", st.st_uid, st.st_gid);
    SHOW(open("/proc/self/oom_score_adj", O_WRONLY) >= 0);
    SHOW(open("/proc/self/status", O_RDONLY) >= 0);
}

int main(void) {
    SHOW(prctl(PR_GET_DUMPABLE));
    owners();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(setgid(1000) == 0 && setuid(1000) == 0);
        SHOW(prctl(PR_GET_DUMPABLE));
        owners();
        SHOW(prctl(PR_SET_DUMPABLE, 1));
        owners();
        SHOW(prctl(PR_SET_DUMPABLE, 0));
        owners();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    DONE();
}
