// What /proc shows of a process to those who may not look into it: nothing of its memory, and no way to its files; and what calls do.
#include "t.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void look(const char *who, pid_t pid) {
    static const char *const FILES[] = {"environ", "auxv", "maps", "smaps", "smaps_rollup", "mem", "stat", "status", "cmdline"};
    static const char *const LINKS[] = {"exe", "cwd", "root", "ns/mnt", "ns/user", "fd/10", "fd/11"};
    char path[64], bytes[256];
    printf("-- %s\n", who);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, FILES[i]);
        int fd = open(path, O_RDONLY);
        // Of memory nothing is at the address 0.
        bool is_seen = fd >= 0 && (read(fd, bytes, sizeof bytes) > 0 || !strcmp(FILES[i], "mem"));
        printf("%s: %s\n", FILES[i], is_seen ? "seen" : t_errno(errno));
        close(fd);
    }
    for (size_t i = 0; i < sizeof LINKS / sizeof *LINKS; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, LINKS[i]);
        bool is_seen = readlink(path, bytes, sizeof bytes) > 0;
        printf("%s: %s", LINKS[i], is_seen ? "seen" : t_errno(errno));
        int fd = open(path, O_RDONLY | O_NONBLOCK);
        printf(", %s\n", fd >= 0 ? "opened" : t_errno(errno));
        close(fd);
    }
    cpu_set_t cpus;
    void *list;
    size_t len;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    SHOW(sched_setaffinity(pid, sizeof cpus, &cpus));
    SHOW(syscall(SYS_get_robust_list, pid, &list, &len));
}
static pid_t sleeper(int id, int dumpable) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        if (id != 0)
            NEED(setgid(id) == 0 && setuid(id) == 0 && prctl(PR_SET_DUMPABLE, dumpable) == 0);
        int ends[2];
        NEED(pipe(ends) == 0 && dup2(ends[0], 10) == 10 && dup2(ends[1], 11) == 11);
        NEED(write(12, "", 1) == 1);
        pause();
        _exit(0);
    }
    char byte;
    NEED(read(13, &byte, 1) == 1);
    return pid;
}

int main(void) {
    int ends[2];
    enter_scratch();
    NEED(chmod(".", 0755) == 0 && setenv("SECRET", "of the environment", 1) == 0);
    NEED(pipe(ends) == 0 && dup2(ends[0], 13) == 13 && dup2(ends[1], 12) == 12);
    pid_t root = sleeper(0, 1), other = sleeper(1001, 1), same = sleeper(1000, 1), hidden = sleeper(1000, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close_range(10, 20, 0);
        NEED(setgid(1000) == 0 && setuid(1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
        look("root's", root);
        look("another user's", other);
        look("the same user's", same);
        look("the same user's that may not be dumped", hidden);
        look("its own", getpid());
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    look("another's, to root", other);
    for (int i = 0; i < 4; i++)
        kill((pid_t[]){root, other, same, hidden}[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    DONE();
}
