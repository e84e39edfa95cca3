// What becomes of a program whose handler changes the frame that it returns to: segments, addresses, the place of the
// floating-point state, the alternate stack and the mask.
// machines: all
// arch: x86-64
#include "t.h"
#include <sys/wait.h>
#include <ucontext.h>

enum {
    SAME, CODE_0, CODE_ALL, CODE_KERNEL, STACK_0, STACK_KERNEL, STACK_LOOSE, RIP_KERNEL, RIP_NONE, STATE_ODD, STATE_HALF,
    NO_ALT_STACK, SMALL_ALT_STACK, EMPTY, BLOCKED, COUNT
};
static const char *const names[COUNT] = {
    "as it was", "code segment 0", "code segment of ones", "code segment of the kernel", "stack segment 0",
    "stack segment of the kernel", "stack segment that need not be right", "address of the kernel", "no address",
    "state at an odd address", "state at 16 bytes", "no alternate stack", "an alternate stack that is too small",
    "nothing but zeroes", "SIGSEGV blocked"};
static int kind;

static void died(int signal, siginfo_t *info, void *context) {
    ucontext_t *at = context;
    char text[100];
    int n = snprintf(text, sizeof text, "signal %d, code %d, trap %lld, ", signal, info->si_code,
                     (long long)at->uc_mcontext.gregs[REG_TRAPNO]);
    (void)!write(1, text, (size_t)n);
    _exit(1);
}

static void set_segment(ucontext_t *frame, int shift, uint64_t value) {
    uint64_t segments = (uint64_t)frame->uc_mcontext.gregs[REG_CSGSFS];
    frame->uc_mcontext.gregs[REG_CSGSFS] = (long long)((segments & ~(0xffffull << shift)) | value << shift);
}

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    static _Alignas(64) char copy[16384];
    enum { CODE = 0, STACK = 48, UC_STRICT_RESTORE_SS = 4, STATE_LEN = 8192 };
    ucontext_t *frame = context;
    char *state = (char *)frame->uc_mcontext.fpregs;
    switch (kind) {
    case CODE_0: set_segment(frame, CODE, 0); break;
    case CODE_ALL: set_segment(frame, CODE, 0xffff); break;
    case CODE_KERNEL: set_segment(frame, CODE, 0x10); break;
    case STACK_0: set_segment(frame, STACK, 0); break;
    case STACK_KERNEL: set_segment(frame, STACK, 0x18); break;
    case STACK_LOOSE:
        frame->uc_flags &= ~(unsigned long)UC_STRICT_RESTORE_SS;
        set_segment(frame, STACK, 0);
        break;
    case RIP_KERNEL: frame->uc_mcontext.gregs[REG_RIP] = (long long)0xffffffff80000000; break;
    case RIP_NONE: frame->uc_mcontext.gregs[REG_RIP] = (long long)0x8000000000000000; break;
    case STATE_ODD:
    case STATE_HALF: {
        char *to = copy + (kind == STATE_ODD ? 13 : 16);
        uint32_t extended;
        memcpy(&extended, state + 464 + 4, sizeof extended);
        memcpy(to, state, extended >= 512 && extended <= STATE_LEN ? extended : 512);
        frame->uc_mcontext.fpregs = (void *)to;
        break;
    }
    case NO_ALT_STACK: memset(&frame->uc_stack, 0xff, sizeof frame->uc_stack); break;
    case SMALL_ALT_STACK: frame->uc_stack.ss_size = 1; break;
    case EMPTY: memset(frame, 0, offsetof(ucontext_t, uc_sigmask) + 8); break;
    case BLOCKED:
        memset(&frame->uc_sigmask, 0xff, 8);
        frame->uc_mcontext.fpregs = (void *)8;
        break;
    }
}

static void child(void) {
    static char memory[65536];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    struct sigaction fatal = {.sa_sigaction = died, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    NEED(sigaltstack(&stack, NULL) == 0);
    NEED(sigaction(SIGSEGV, &fatal, NULL) == 0 && sigaction(SIGBUS, &fatal, NULL) == 0);
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
    NEED(sigaltstack(NULL, &stack) == 0);
    printf("goes on, alternate stack %s, ", stack.ss_sp == memory && stack.ss_size == sizeof memory ? "kept" : "lost");
    fflush(stdout);
    _exit(0);
}

int main(void) {
    for (kind = 0; kind < COUNT; kind++) {
        printf("%s: ", names[kind]);
        fflush(stdout);
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0)
            child();
        int status = 0;
        NEED(waitpid(pid, &status, 0) == pid);
        if (WIFSIGNALED(status))
            printf("killed by %d\n", WTERMSIG(status));
        else
            printf("status %d\n", WEXITSTATUS(status));
    }
    DONE();
}
