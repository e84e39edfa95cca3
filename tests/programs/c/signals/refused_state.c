// A handler that returns with a floating-point state that the CPU would refuse ends its process, and no other: signals of
// the processes that come after it are delivered and return as before.
// machines: all
// arch: x86-64
#include "t.h"
#include <sys/wait.h>
#include <ucontext.h>

enum { LEGACY_LEN = 512, SW_BYTES = 464, HEADER_WORDS = 8, MXCSR_DAMAGE = HEADER_WORDS, NOTHING };
static const uint32_t FP_XSTATE_MAGIC = 0x46505853;
static int damage;

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ucontext_t *interrupted = context;
    uint8_t *state = (uint8_t *)interrupted->uc_mcontext.fpregs;
    uint32_t magic;
    memcpy(&magic, state + SW_BYTES, sizeof magic);
    // A CPU without XSAVE has no header that could be damaged.
    if (damage == MXCSR_DAMAGE || (damage < HEADER_WORDS && magic != FP_XSTATE_MAGIC))
        interrupted->uc_mcontext.fpregs->mxcsr = UINT32_MAX;
    else if (damage < HEADER_WORDS)
        memset(state + LEGACY_LEN + 8 * damage, 0xff, 8);
}

// The status of a child whose handler does what `damage` says.
static int status_of_child(void) {
    fflush(stdout);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        volatile double sum = 1.5;
        raise(SIGUSR1);
        _exit(sum * 2 == 3.0 ? 0 : 1);
    }
    int status = 0;
    NEED(waitpid(pid, &status, 0) == pid);
    return status;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int kind = 0; kind < NOTHING; kind++) {
        enum { FOLLOWERS = 4 };
        damage = kind;
        int status = status_of_child(), unharmed = 0;
        damage = NOTHING;
        for (int i = 0; i < FOLLOWERS; i++)
            unharmed += status_of_child() == 0;
        printf("damage %d: SIGSEGV %d, unharmed %d\n", kind, WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, unharmed);
    }
    return 0;
}
