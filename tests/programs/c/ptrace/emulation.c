// ptrace: calls that the tracer makes in the traced process's place (PTRACE_SYSEMU), and signals that wait (PTRACE_PEEKSIGINFO).
// arch: x86-64
#include "t.h"
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static int wait_for(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, __WALL) == pid);
    return status;
}

int main(void) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGUSR1);
        for (int i = 0; i < 3; i++)
            sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
        raise(SIGSTOP);
        // The first three are not made.
        long a = syscall(SYS_getpgid, 11), b = syscall(SYS_getpgid, 12);
        int error = errno;
        long c = syscall(SYS_exit_group, 99), d = syscall(SYS_getppid);
        syscall(SYS_exit_group, a == 1234 && b == -1 && error == ENOSYS && c == 5 && d == getppid() ? 3 : 4);
    }
    printf("%x\n", wait_for(pid));
    siginfo_t infos[8];
    struct __ptrace_peeksiginfo_args args = {0, PTRACE_PEEKSIGINFO_SHARED, 8};
    long n = ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos);
    printf("%ld of the process:", n);
    for (long i = 0; i < n; i++)
        printf(" %s %d", infos[i].si_signo == SIGRTMIN + 1 ? "real-time" : "?", infos[i].si_value.sival_int);
    args = (struct __ptrace_peeksiginfo_args){0, 0, 8};
    n = ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos);
    printf("\n%ld of the thread: %d\n", n, infos[0].si_signo);
    args = (struct __ptrace_peeksiginfo_args){2, PTRACE_PEEKSIGINFO_SHARED, 8};
    SHOW(ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos));
    args = (struct __ptrace_peeksiginfo_args){0, PTRACE_PEEKSIGINFO_SHARED, 2};
    SHOW(ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos));
    args = (struct __ptrace_peeksiginfo_args){9, 0, 2};
    SHOW(ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos));
    args = (struct __ptrace_peeksiginfo_args){0, 2, 2};
    SHOW(ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos));
    args = (struct __ptrace_peeksiginfo_args){0, 0, -1};
    SHOW(ptrace(PTRACE_PEEKSIGINFO, pid, &args, infos));
#ifdef __x86_64__
    struct user_regs_struct regs;
    for (int stops = 0, made = 0; made < 3; stops++) {
        NEED(stops < 100 && ptrace(PTRACE_SYSEMU, pid, 0, 0) == 0);
        int status = wait_for(pid);
        NEED(WIFSTOPPED(status) && ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
        printf("stop %d: call %lld, argument %lld, result %lld\n", stops, (long long)regs.orig_rax, (long long)regs.rdi, (long long)regs.rax);
        made++;
        if (made == 2)
            continue;
        regs.rax = made == 1 ? 1234 : 5;
        NEED(ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0);
    }
    // From here on they are made.
    SHOW(ptrace(PTRACE_SYSCALL, pid, 0, 0));
    printf("%x\n", wait_for(pid));
    NEED(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
    printf("call %lld, result %lld\n", (long long)regs.orig_rax, (long long)regs.rax);
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
#else
    SHOW(ptrace(PTRACE_KILL, pid, 0, 0));
#endif
    printf("%x\n", wait_for(pid));
    DONE();
}
