// ptrace: the stops of a traced process, its registers and memory, and what wait tells of them.
// arch: x86-64
#include "t.h"
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static volatile long word = 0x1111;

static void show(const char *what, int status) {
    if (WIFSTOPPED(status))
        printf("%s: stopped by %d, event %d\n", what, WSTOPSIG(status), status >> 16);
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else
        printf("%s: ended with %d\n", what, WEXITSTATUS(status));
}
static int wait_for(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, __WALL) == pid);
    return status;
}

static void handler(int signal) { word = signal; }

static void child(void) {
    signal(SIGUSR1, handler);
    NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    raise(SIGSTOP);
    syscall(SYS_getpgid, 12345);
    raise(SIGUSR1);
    raise(SIGUSR2);
    pid_t own = fork();
    if (own == 0)
        _exit(5);
    int status;
    waitpid(own, &status, 0);
    _exit(word == SIGUSR1 ? 3 : 4);
}

int main(void) {
    SHOW(ptrace(PTRACE_PEEKDATA, 1, 0, 0));
    SHOW(ptrace(PTRACE_ATTACH, getpid(), 0, 0));
    SHOW(ptrace(PTRACE_CONT, 0x7fffffff, 0, 0));
    fflush(stdout);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0)
        child();
    show("first", wait_for(pid));
    SHOW(ptrace(PTRACE_SETOPTIONS, pid, 0, 0x80000000));
    SHOW(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL));
    errno = 0;
    SHOW(ptrace(PTRACE_PEEKDATA, pid, &word, 0));
    SHOW(ptrace(PTRACE_POKEDATA, pid, &word, 0x2222));
    SHOW(ptrace(PTRACE_PEEKDATA, pid, &word, 0));
    SHOW(ptrace(PTRACE_PEEKDATA, pid, 8, 0));
    SHOW(word);
    siginfo_t info;
    SHOW(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
    printf("signal %d, code %s\n", info.si_signo, info.si_code == SI_TKILL ? "tkill" : "?");
    SHOW(ptrace(PTRACE_CONT, pid, 0, 999));
    char state[64], line[256];
    snprintf(state, sizeof state, "/proc/%d/status", pid);
    FILE *file = fopen(state, "r");
    NEED(file);
    while (fgets(line, sizeof line, file)) {
        int tracer;
        if (!strncmp(line, "State:", 6))
            fputs(line, stdout);
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            SHOW(tracer == getpid());
    }
    fclose(file);

    // Its calls.
    struct __ptrace_syscall_info call;
    int seen = 0;
    for (;;) {
        NEED(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
        int status = wait_for(pid);
        NEED(WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80));
        long n = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof call, &call);
        if (call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == SYS_getpgid) {
            printf("entry: %ld bytes, argument %d, ip %s\n", n, (int)call.entry.args[0], call.instruction_pointer ? "some" : "none");
            seen = 1;
#ifdef __x86_64__
            // Another argument, by the registers.
            struct user_regs_struct regs;
            SHOW(ptrace(PTRACE_GETREGS, pid, 0, &regs));
            printf("orig_rax %s, rax %d, rdi %d, cs %llx, ss %llx\n", regs.orig_rax == SYS_getpgid ? "getpgid" : "?", (int)regs.rax, (int)regs.rdi, regs.cs, regs.ss);
            SHOW(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rdi), 0));
            SHOW(ptrace(PTRACE_PEEKUSER, pid, 3, 0));
            regs.rdi = 0;
            SHOW(ptrace(PTRACE_SETREGS, pid, 0, &regs));
#endif
        } else if (call.op == PTRACE_SYSCALL_INFO_EXIT && seen) {
            printf("exit: %ld bytes, result %s, error %d\n", n, call.exit.rval > 0 ? "a group" : "?", call.exit.is_error);
            break;
        }
    }
    // A call that is not made.
    for (seen = 0; !seen;) {
        NEED(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
        wait_for(pid);
        ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof call, &call);
        seen = call.op == PTRACE_SYSCALL_INFO_ENTRY;
    }
    struct user_regs_struct set;
    struct iovec vector = {&set, sizeof set};
    SHOW(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector));
    SHOW(vector.iov_len == sizeof set);
    SHOW(ptrace(PTRACE_GETREGSET, pid, 0x7777, &vector));
    struct user_fpregs_struct fp;
    vector = (struct iovec){&fp, sizeof fp};
    SHOW(ptrace(PTRACE_GETREGSET, pid, NT_PRFPREG, &vector));

    // A signal with a handler, and one that is taken away.
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    show("then", wait_for(pid));
    SHOW(ptrace(PTRACE_CONT, pid, 0, SIGUSR1));
    show("then", wait_for(pid));
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    // Its child is traced, too.
    int status = wait_for(pid);
    show("then", status);
    unsigned long message;
    SHOW(ptrace(PTRACE_GETEVENTMSG, pid, 0, &message));
    show("its child", wait_for((pid_t)message));
    SHOW(ptrace(PTRACE_CONT, message, 0, 0));
    show("its child", wait_for((pid_t)message));
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    status = wait_for(pid);
    if (WIFSTOPPED(status)) {
        show("then", status);
        SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
        status = wait_for(pid);
    }
    show("then", status);

    // Attached, seized, interrupted and detached.
    fflush(stdout);
    NEED((pid = fork()) >= 0);
    if (pid == 0)
        for (;;)
            pause();
    WAIT_UNTIL_ASLEEP(process_state(pid));
    SHOW(ptrace(PTRACE_ATTACH, pid, 0, 0));
    SHOW(ptrace(PTRACE_ATTACH, pid, 0, 0));
    show("attached", wait_for(pid));
    SHOW(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
    SHOW(ptrace(PTRACE_DETACH, pid, 0, 0));
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    SHOW(ptrace(PTRACE_SEIZE, pid, 1, 0));
    SHOW(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
    SHOW(waitpid(pid, &status, WNOHANG | __WALL));
    SHOW(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
    show("interrupted", wait_for(pid));
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    kill(pid, SIGSTOP);
    show("signal", wait_for(pid));
    SHOW(ptrace(PTRACE_CONT, pid, 0, SIGSTOP));
    show("group", wait_for(pid));
    SHOW(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
    SHOW(ptrace(PTRACE_LISTEN, pid, 0, 0));
    SHOW(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
    show("interrupted", wait_for(pid));
    SHOW(ptrace(PTRACE_LISTEN, pid, 0, 0));
    kill(pid, SIGCONT);
    show("listening", wait_for(pid));
    SHOW(ptrace(PTRACE_KILL, pid, 0, 0));
    do
        status = wait_for(pid);
    while (WIFSTOPPED(status));
    show("killed", status);

    // One step after the other.
    fflush(stdout);
    NEED((pid = fork()) >= 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        for (volatile int i = 0; i < 20; i++) {
        }
        _exit(6);
    }
    show("stopped", wait_for(pid));
    int steps = 0;
    while (steps < 40) {
        NEED(ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == 0);
        status = wait_for(pid);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
            break;
        steps++;
    }
    SHOW(steps);
    SHOW(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
    SHOW(info.si_code == TRAP_TRACE);
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    show("then", wait_for(pid));

    // The end of the tracer: its child goes on, or ends with it (PTRACE_O_EXITKILL).
    for (int kills = 0; kills < 2; kills++) {
        int ends[2];
        NEED(pipe(ends) == 0);
        fflush(stdout);
        pid_t tracer = fork();
        if (tracer == 0) {
            pid = fork();
            if (pid == 0) {
                close(ends[0]);
                ptrace(PTRACE_TRACEME, 0, 0, 0);
                raise(SIGSTOP);
                NEED(write(ends[1], "x", 1) == 1);
                _exit(0);
            }
            wait_for(pid);
            if (kills)
                ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL);
            _exit(0);
        }
        close(ends[1]);
        wait_for(tracer);
        char c;
        printf("tracer gone%s: %zd bytes\n", kills ? ", with EXITKILL" : "", read(ends[0], &c, 1));
        close(ends[0]);
    }
    DONE();
}
