// A thread pointer that is no address of a program is refused (x86-64: FS's base must be canonical, below the kernel's half).
// arch: x86-64
#include "t.h"
#include <sched.h>
#include <linux/sched.h>
#include <sys/wait.h>

int main(void) {
    for (int bit = 46; bit < 64; bit++) {
        struct clone_args arguments = {.flags = CLONE_SETTLS, .tls = 1ull << bit, .exit_signal = SIGCHLD};
        long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
        if (pid == 0) {
            // No library function: the thread pointer leads nowhere.
            __asm__ volatile("syscall" ::"a"(SYS_exit), "D"(0));
        }
        printf("%d: %s\n", bit, pid > 0 ? "child" : t_errno(errno));
        if (pid > 0)
            waitpid((pid_t)pid, NULL, 0);
    }
    DONE();
}
