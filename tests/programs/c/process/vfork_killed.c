// SIGKILL ends a process whose threads are in vfork(2), and nothing else does: none of them is back in the program, on the stack
// that its child runs on, before the process has ended.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sys/wait.h>

enum { ROUNDS = 30, THREADS = 3, VFORKS = 20, STATUS = 7 };

static int *vforks; // Those that have returned, in memory that the processes share.

static void *vforker(void *unused) {
    (void)unused;
    for (;;) {
        pid_t pid = vfork();
        if (pid == 0)
            _exit(STATUS);
        int status = 0;
        if (pid > 0 && (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != STATUS))
            _exit(1);
        __atomic_add_fetch(vforks, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

int main(void) {
    vforks = mmap(NULL, sizeof *vforks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(vforks != MAP_FAILED);
    int killed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        *vforks = 0;
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            pthread_t thread;
            for (int t = 0; t < THREADS; t++)
                NEED(pthread_create(&thread, NULL, vforker, NULL) == 0);
            for (;;)
                pause();
        }
        WAIT_UNTIL(__atomic_load_n(vforks, __ATOMIC_RELAXED) >= VFORKS);
        int status = 0;
        NEED(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    SHOW(killed);
    DONE();
}
