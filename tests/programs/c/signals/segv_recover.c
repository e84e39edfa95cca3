// SIGSEGV handlers see the exact address and code of each kind of bad access and can leave by siglongjmp, or mend it.
#include "t.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf out;
static siginfo_t seen;
static long error;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal;
    seen = *info;
    error = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
    siglongjmp(out, 1);
}
static char *page;
static volatile int mended;
static void mend(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    mended++;
    CHECK((char *)info->si_addr == page + 123);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    volatile long *bad[] = {NULL, (long *)8, (long *)0x1234, (long *)0x7ffffffff000, (long *)0xdead0000};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (sigsetjmp(out, 1) == 0)
            *bad[i] = 1;
        else
            printf("write %lx: code %d, write bit %ld\n", (unsigned long)seen.si_addr, seen.si_code, error >> 1 & 1);
        if (sigsetjmp(out, 1) == 0)
            (void)*bad[i];
        else
            printf("read %lx: code %d, write bit %ld\n", (unsigned long)seen.si_addr, seen.si_code, error >> 1 & 1);
    }
    // A non-canonical address has no si_addr: it is a general protection fault.
    if (sigsetjmp(out, 1) == 0)
        *(volatile long *)0x8000000000000000 = 1;
    else
        printf("non-canonical: code %d address %lx\n", seen.si_code, (unsigned long)seen.si_addr);
    void (*nowhere)(void) = (void (*)(void))0x10;
    if (sigsetjmp(out, 1) == 0)
        nowhere();
    else
        printf("jump: code %d address %lx\n", seen.si_code, (unsigned long)seen.si_addr);
    action.sa_sigaction = mend;
    sigaction(SIGSEGV, &action, NULL);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[123] = 'm';
    SHOW(page[123]);
    SHOW(mended);
    DONE();
}
