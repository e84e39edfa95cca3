// Threads that fork, execute, end, wait for and signal processes at once, with children that outlive their parents.
// machines: all
// flags: -pthread
#include "stress.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *self;

static void stress_step(unsigned thread) {
    (void)thread;
    switch (below(8)) {
    case 0:
    case 1: {
        int pid = fork();
        if (pid == 0) {
            if (below(2))
                execl(self, self, "end", NULL);
            _exit(0);
        }
        if (pid > 0)
            waitpid(pid, NULL, 0);
        break;
    }
    // The child ends at the same time as its own child, which this process adopts.
    case 2: {
        int pid = fork();
        if (pid == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
        break;
    }
    case 3:
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        break;
    case 4: {
        int pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        if (pid > 0) {
            kill(pid, below(2) ? SIGSTOP : SIGCONT);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        break;
    }
    case 5: {
        long pid = syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            _exit(0);
        if (pid > 0)
            waitpid((pid_t)pid, NULL, 0);
        break;
    }
    case 6: {
        char path[64], text[4096];
        snprintf(path, sizeof path, "/proc/%d/status", getpid() + (int)below(20));
        int fd = open(path, O_RDONLY);
        if (fd >= 0) {
            (void)!read(fd, text, sizeof text);
            close(fd);
        }
        break;
    }
    case 7: {
        char *fresh = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fresh != MAP_FAILED) {
            memset(fresh, 1, 65536);
            munmap(fresh, 65536);
        }
        break;
    }
    }
}

int main(int argc, char **argv) {
    if (argc > 1)
        return 0;
    self = argv[0];
    NEED(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    stress();
    // Every child is found, also those that were adopted.
    while (waitpid(-1, NULL, 0) > 0) {
    }
    int error = errno;
    SHOW(error == ECHILD);
    DONE();
}
