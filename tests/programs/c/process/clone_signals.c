// Exit signals of clone(2): any number makes a child, those that are no signals are never sent; which children wait(2) sees.
#include "t.h"
#include <linux/sched.h>
#include <sys/wait.h>

static volatile int chld, usr1;
static void handler(int signal) { signal == SIGCHLD ? chld++ : usr1++; }

static long child(unsigned long flags) {
    long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (pid == 0)
        _exit(3);
    return pid;
}

int main(void) {
    signal(SIGCHLD, handler);
    signal(SIGUSR1, handler);
    const int signals[] = {0, SIGCHLD, SIGUSR1, 64, 65, 66, 127, 128, 200, 255};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        // 64 would end this process.
        if (signals[i] == 64)
            signal(64, SIG_IGN);
        chld = usr1 = 0;
        long pid = child(signals[i]);
        int status = 0;
        siginfo_t info = {0};
        NEED(pid > 0);
        NEED(waitid(P_PID, pid, &info, WEXITED | WNOWAIT | __WALL) == 0);
        printf("%d: waitpid %s", signals[i], waitpid(pid, &status, 0) == pid ? "child" : t_errno(errno));
        printf(", __WCLONE %s", waitpid(pid, &status, __WCLONE) == pid ? "child" : t_errno(errno));
        printf(", __WALL %s", waitpid(pid, &status, __WALL) == pid ? "child" : t_errno(errno));
        printf(", status %d, SIGCHLD %d, SIGUSR1 %d\n", WEXITSTATUS(status), chld, usr1);
    }
    struct clone_args args = {.exit_signal = 65};
    SHOW(syscall(SYS_clone3, &args, sizeof args));
    SHOW(waitpid(-1, NULL, __WALL));
    DONE();
}
