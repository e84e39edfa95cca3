// PTRACE_O_SUSPEND_SECCOMP, PTRACE_SECCOMP_GET_METADATA and PTRACE_SECCOMP_GET_FILTER of ptrace(2): a tracer has the calls of a thread made
// in spite of its filters, and learns these and with which flags they were set.
#include "t.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#ifndef PTRACE_SECCOMP_GET_METADATA
#define PTRACE_SECCOMP_GET_METADATA 0x420d
#endif
#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif
struct metadata {
    uint64_t filter_off, flags;
};

// Has getppid(2) fail.
static int filter(unsigned flags) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENODEV),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int show_metadata(pid_t pid, size_t size, uint64_t place) {
    struct metadata data = {place, 99};
    int found = ptrace(PTRACE_SECCOMP_GET_METADATA, pid, size, &data);
    int error = errno;
    printf("filter %d, flags %d: ", (int)data.filter_off, (int)data.flags);
    errno = error;
    return found;
}

static void go_on(pid_t pid, int expected) {
    int status;
    NEED(ptrace(PTRACE_CONT, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid);
    NEED(WIFSTOPPED(status) && WSTOPSIG(status) == expected);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    pid_t child = fork();
    if (child == 0) {
        NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGUSR1);
        NEED(filter(0) == 0 && filter(SECCOMP_FILTER_FLAG_LOG) == 0);
        SHOW(syscall(SYS_getppid) > 0);
        raise(SIGUSR1);
        SHOW(syscall(SYS_getppid) > 0);
        raise(SIGUSR1);
        SHOW(syscall(SYS_getppid) > 0);
        _exit(0);
    }
    int status;
    NEED(child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    SHOW(show_metadata(child, 16, 0));
    SHOW(ptrace(PTRACE_SETOPTIONS, child, 0, (void *)(1L << 22)));
    go_on(child, SIGUSR1);
    SHOW(show_metadata(child, 16, 0));
    SHOW(show_metadata(child, 100, 1));
    SHOW(show_metadata(child, 8, 1));
    SHOW(show_metadata(child, 16, 2));
    SHOW(show_metadata(child, 7, 0));
    struct sock_filter code[5];
    memset(code, 9, sizeof code);
    SHOW(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 1, NULL));
    SHOW(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 1, code));
    SHOW(code[1].k == SYS_getppid);
    for (int i = 0; i < 5; i++)
        printf("%d %d %d\n", code[i].code, code[i].jt, code[i].jf);
    SHOW(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 2, NULL));
    SHOW(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 0, 8));
    SHOW(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_SUSPEND_SECCOMP));
    go_on(child, SIGUSR1);
    SHOW(ptrace(PTRACE_SETOPTIONS, child, 0, 0));
    NEED(ptrace(PTRACE_CONT, child, 0, 0) == 0 && waitpid(child, &status, 0) == child);
    SHOW(status);

    // What a tracer's own calls are kept from, others' are not freed of.
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter(0) == 0);
    child = fork();
    if (child == 0) {
        NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGUSR1);
        _exit(0);
    }
    NEED(child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    SHOW(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_SUSPEND_SECCOMP));
    SHOW(show_metadata(child, 16, 0));
    NEED(ptrace(PTRACE_CONT, child, 0, 0) == 0 && waitpid(child, &status, 0) == child);
    DONE();
}
