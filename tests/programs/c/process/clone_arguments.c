// What clone and clone3 refuse, and whose child a child made with CLONE_PARENT is.
// flags: -pthread
#include "t.h"
#include <sched.h>
#include <sys/wait.h>

// struct clone_args, the version of 88 bytes.
struct arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
static char stack[64 * 1024] __attribute__((aligned(16)));
static uint32_t cell, ids[64];

// "child" if the call makes one.
static void try(const char *what, struct arguments a) {
    fflush(stdout);
    long pid = syscall(SYS_clone3, &a, sizeof a);
    if (pid == 0)
        _exit(0);
    printf("%s: %s\n", what, pid > 0 ? "child" : t_errno(errno));
    if (pid > 0)
        waitpid((pid_t)pid, NULL, __WALL);
}
#define TRY(...) try(#__VA_ARGS__, (struct arguments){__VA_ARGS__})

static int seven(void *unused) {
    (void)unused;
    return 7;
}

int main(void) {
    TRY(.exit_signal = SIGCHLD);
    TRY(.exit_signal = 65);
    TRY(.exit_signal = 0x100);
    TRY(.flags = SIGCHLD);
    TRY(.flags = CLONE_SIGHAND);
    TRY(.flags = CLONE_THREAD);
    TRY(.flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD);
    TRY(.flags = CLONE_PARENT, .exit_signal = SIGCHLD);
    TRY(.flags = CLONE_FS | CLONE_NEWNS);
    TRY(.flags = CLONE_FS | CLONE_NEWUSER);
    TRY(.flags = CLONE_PIDFD | CLONE_PARENT_SETTID, .pidfd = (uintptr_t)&cell, .parent_tid = (uintptr_t)&cell);
    TRY(.stack = 4096, .exit_signal = SIGCHLD);
    TRY(.stack_size = 4096, .exit_signal = SIGCHLD);
    TRY(.stack = -4096ull, .stack_size = 8192, .exit_signal = SIGCHLD);
    TRY(.stack = 1ull << 62, .stack_size = 8192, .exit_signal = SIGCHLD);
    TRY(.set_tid = (uintptr_t)ids, .exit_signal = SIGCHLD);
    TRY(.set_tid_size = 1, .exit_signal = SIGCHLD);
    TRY(.set_tid = (uintptr_t)ids, .set_tid_size = 33, .exit_signal = SIGCHLD);
    SHOW(clone(seven, stack + sizeof stack, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &cell));

    // A child of the child is this process's, and none of the child's.
    int status = 0, shared[2];
    NEED(pipe(shared) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        pid_t sibling = clone(seven, stack + sizeof stack, CLONE_PARENT | SIGUSR1, NULL);
        NEED(write(shared[1], &sibling, sizeof sibling) == sizeof sibling);
        _exit(waitpid(sibling, NULL, __WALL) == -1 ? errno : 0);
    }
    pid_t sibling;
    NEED(read(shared[0], &sibling, sizeof sibling) == sizeof sibling);
    SHOW(waitpid(child, &status, 0) == child);
    printf("in the child: %s\n", t_errno(WEXITSTATUS(status)));
    // It ends with the signal of the child that made it, not with that which was asked for.
    SHOW(waitpid(sibling, &status, 0) == sibling);
    SHOW(WEXITSTATUS(status));
    DONE();
}
