// Processes that share parts with their parent (CLONE_VM, CLONE_FILES, CLONE_FS, CLONE_SIGHAND without CLONE_THREAD): what one
// changes the other sees, and the end or the program of one leaves the other its own.
#include "t.h"
#include <sched.h>
#include <sys/wait.h>

static char stack[64 * 1024] __attribute__((aligned(16)));
static int ends[2];
static volatile int value, handled;

static void handler(int signal) { handled = signal; }

static int change(void *argument) {
    (void)argument;
    value = 7;
    close(ends[0]);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    if (chdir("/proc") != 0)
        return 1;
    return 3;
}

// close_range(2) with CLOSE_RANGE_UNSHARE leaves the others' descriptors as they are.
static int leave(void *argument) {
    if (syscall(SYS_close_range, ends[0], ends[1], 2 | (unsigned)(uintptr_t)argument) != 0)
        return 1;
    return fcntl(ends[0], F_GETFD) == -1 ? 2 : fcntl(ends[0], F_GETFD) == FD_CLOEXEC ? 3 : 4;
}

static void leave_shared(unsigned flags) {
    NEED(pipe(ends) == 0);
    int status = 0, pid = clone(leave, stack + sizeof stack, CLONE_FILES | SIGCHLD, (void *)(uintptr_t)flags);
    NEED(pid > 0 && waitpid(pid, &status, 0) == pid);
    printf("close_range unshared, flags %u: status %d, own flags %d %d\n", flags, WEXITSTATUS(status), fcntl(ends[0], F_GETFD),
           fcntl(ends[1], F_GETFD));
    close(ends[0]);
    close(ends[1]);
}

static int execute(void *argument) {
    char *arguments[] = {argument, "child", NULL};
    execv(argument, arguments);
    return 1;
}

static void try(const char *name, int flags) {
    value = handled = 0;
    signal(SIGUSR1, SIG_IGN);
    NEED(chdir("/") == 0);
    NEED(pipe(ends) == 0);
    int pid = clone(change, stack + sizeof stack, flags | SIGCHLD, NULL);
    printf("%s: %s", name, pid > 0 ? "child" : t_errno(errno));
    int status = 0;
    NEED(waitpid(pid, &status, 0) == pid);
    char directory[64];
    NEED(getcwd(directory, sizeof directory));
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    printf(", status %d, value %d, directory %s, handler %s", WEXITSTATUS(status), value, directory,
           action.sa_handler == handler ? "child's" : "own");
    printf(", reading end %s", fcntl(ends[0], F_GETFD) == -1 ? "closed" : "open");
    // The end of the child has closed nothing.
    printf(", writing end %s\n", fcntl(ends[1], F_GETFD) == -1 ? "closed" : "open");
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        // Executed by a child that shared the descriptors: the one to be closed by exec is gone here.
        printf("executed: %s\n", fcntl(100, F_GETFD) == -1 ? t_errno(errno) : "open");
        close(1);
        return 5;
    }
    leave_shared(0);
    leave_shared(4);
    try("nothing", 0);
    try("CLONE_VM", CLONE_VM);
    try("CLONE_FILES", CLONE_FILES);
    try("CLONE_FS", CLONE_FS);
    try("CLONE_VM | CLONE_SIGHAND", CLONE_VM | CLONE_SIGHAND);
    try("CLONE_VM | CLONE_FS | CLONE_FILES", CLONE_VM | CLONE_FS | CLONE_FILES);
    try("all", CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND);
    try("CLONE_VFORK", CLONE_VM | CLONE_VFORK);
    NEED(dup2(1, 100) == 100);
    NEED(fcntl(100, F_SETFD, FD_CLOEXEC) == 0);
    for (int round = 0; round < 2; round++) {
        int pid = clone(execute, stack + sizeof stack, CLONE_FILES | SIGCHLD, argv[0]), status = 0;
        NEED(pid > 0);
        NEED(waitpid(pid, &status, 0) == pid);
        printf("status %d, here %s\n", WEXITSTATUS(status), fcntl(100, F_GETFD) == -1 ? "closed" : "open");
    }
    DONE();
}
