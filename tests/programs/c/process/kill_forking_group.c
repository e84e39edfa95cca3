// SIGKILL to a process group that makes processes all the time leaves none of them: a child is either listed when the signal is
// sent, or its parent can't make it any more.
// machines: all
#include "t.h"
#include <sys/prctl.h>
#include <sys/wait.h>

enum { ROUNDS = 20, MAKERS = 2, BEFORE = 20 };

static int *made; // Processes, in memory that they share.

// Each process makes the next one, and ends.
static void make(void) {
    for (;;) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        if (pid == 0)
            __atomic_add_fetch(made, 1, __ATOMIC_RELAXED);
    }
}

int main(void) {
    made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(made != MAP_FAILED);
    // Their ends are seen here.
    NEED(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    int ended = 0;
    for (int i = 0; i < ROUNDS; i++) {
        *made = 0;
        pid_t leader = fork();
        NEED(leader >= 0);
        if (leader == 0) {
            NEED(setpgid(0, 0) == 0);
            for (int n = 0; n < MAKERS; n++)
                if (fork() == 0)
                    make();
            for (;;)
                pause();
        }
        WAIT_UNTIL(__atomic_load_n(made, __ATOMIC_RELAXED) >= BEFORE);
        NEED(kill(-leader, SIGKILL) == 0);
        while (waitpid(-1, NULL, 0) > 0) {
        }
        ended += errno == ECHILD && kill(-leader, 0) == -1;
    }
    SHOW(ended);
    DONE();
}
