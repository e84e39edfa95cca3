// process_mrelease(2): the memory of a process that ends is taken before its threads are gone; that of one that goes on is not.
#include "t.h"
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { BYTES = 16 << 20 };

static long release(int fd, unsigned flags) { return syscall(SYS_process_mrelease, fd, flags); }

// What the process has in memory of its own is at least half of what it has filled.
static bool is_full(pid_t pid) {
    char path[64];
    long size, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    NEED(file && fscanf(file, "%ld %ld", &size, &resident) == 2 && fclose(file) == 0);
    return resident * sysconf(_SC_PAGESIZE) > BYTES / 2;
}

int main(void) {
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0), status;
    NEED(self >= 0);
    SHOW(release(self, 0));
    SHOW(release(self, 1));
    SHOW(release(-1, 0));
    SHOW(release(0, 0));
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        char *filled = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(filled != (void *)-1);
        memset(filled, 1, BYTES);
        NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGSTOP);
        _exit(3);
    }
    int fd = (int)syscall(SYS_pidfd_open, child, 0);
    NEED(fd >= 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    SHOW(release(fd, 0));
    SHOW(is_full(child));
    // It stops on its way out.
    NEED(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT) == 0 && ptrace(PTRACE_CONT, child, 0, 0) == 0);
    NEED(waitpid(child, &status, 0) == child && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8));
    SHOW(is_full(child));
    SHOW(release(fd, 1));
    SHOW(release(fd, 0));
    SHOW(is_full(child));
    SHOW(release(fd, 0));
    NEED(ptrace(PTRACE_CONT, child, 0, 0) == 0);
    siginfo_t info;
    NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
    SHOW(release(fd, 0));
    NEED(waitpid(child, &status, 0) == child);
    SHOW(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    SHOW(release(fd, 0));
    DONE();
}
