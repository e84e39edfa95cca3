// SIGSEGV handlers see the exact address and code of each kind of bad access and can leave by siglongjmp, or mend it.
#include "t.h"
#include <setjmp.h>
#include <ucontext.h>

// Whether an access wrote, as the frame of its signal says.
static long is_write(const ucontext_t *frame) {
#ifdef __aarch64__
    const struct _aarch64_ctx *part = (const struct _aarch64_ctx *)frame->uc_mcontext.__reserved;
    while (part->magic && part->magic != ESR_MAGIC)
        part = (const struct _aarch64_ctx *)((const char *)part + part->size);
    return part->magic ? ((const struct esr_context *)part)->esr >> 6 & 1 : -1;
#else
    return frame->uc_mcontext.gregs[REG_ERR] >> 1 & 1;
#endif
}

static sigjmp_buf out;
static siginfo_t seen;
static long wrote;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal;
    seen = *info;
    wrote = is_write(context);
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
            printf("write %lx: code %d, write bit %ld\n", (unsigned long)seen.si_addr, seen.si_code, wrote);
        if (sigsetjmp(out, 1) == 0)
            (void)*bad[i];
        else
            printf("read %lx: code %d, write bit %ld\n", (unsigned long)seen.si_addr, seen.si_code, wrote);
    }
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
