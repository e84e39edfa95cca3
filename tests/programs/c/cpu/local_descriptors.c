// A program has no local descriptor table: a selector of one is refused as such, and no memory of the program's is read for it.
// modes: protected
// machines: all
// arch: x86-64
#include "t.h"
#include <ucontext.h>

static volatile unsigned long trap, code;

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    trap = registers[REG_TRAPNO], code = registers[REG_ERR];
    registers[REG_RIP] += 2; // the length of mov %eax, %ds
}

int main(void) {
    static const unsigned selectors[] = {0x7, 0xf, 0x107, 0x7ffc, 0xffff};
    sigaction(SIGSEGV, &(struct sigaction){.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, NULL);
    for (unsigned i = 0; i < sizeof selectors / sizeof *selectors; i++) {
        trap = code = 0;
        asm volatile("mov %0, %%ds" : : "a"(selectors[i]));
        printf("%#x: trap %lu code %#lx\n", selectors[i], trap, code);
    }
    DONE();
}
