// execve(2) by one of several threads: the others end, also those that execute a program or make a thread at the same time, and the new
// program's thread has the process's id.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sys/wait.h>

enum { ROUNDS = 20, THREADS = 3, STATUS = 7 };

static pthread_barrier_t barrier;

static void execute(void) {
    char *arguments[] = {"exec_threads", "again", NULL};
    execv("/proc/self/exe", arguments);
}

static void *executor(void *unused) {
    pthread_barrier_wait(&barrier);
    execute();
    // Another was first, which ends this thread.
    for (;;)
        pause();
    return unused;
}

static void *nothing(void *unused) { return unused; }

static void *maker(void *unused) {
    pthread_barrier_wait(&barrier);
    for (;;) {
        pthread_t t;
        if (pthread_create(&t, NULL, nothing, NULL) == 0)
            pthread_join(t, NULL);
    }
    return unused;
}

static void rounds(const char *what, void *(*first)(void *), void *(*others)(void *)) {
    int executed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            NEED(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
            pthread_t t;
            for (int n = 0; n < THREADS; n++)
                NEED(pthread_create(&t, NULL, n ? others : first, NULL) == 0);
            for (;;)
                pause();
        }
        int status;
        NEED(waitpid(pid, &status, 0) == pid);
        executed += WIFEXITED(status) && WEXITSTATUS(status) == STATUS;
    }
    printf("%s: %d\n", what, executed);
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1)
        return getpid() == syscall(SYS_gettid) && syscall(SYS_tgkill, getpid(), getpid(), 0) == 0 ? STATUS : 1;
    rounds("one executes", executor, maker);
    rounds("all execute", executor, executor);
    DONE();
}
