// Privileged instructions are refused in a protected program.
// modes: protected
// arch: x86-64
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static void caught(int signal) { siglongjmp(out, signal); }
#define ATTEMPT(name, ...)                                                                                       \
    do {                                                                                                         \
        int s = sigsetjmp(out, 1);                                                                               \
        if (s == 0)                                                                                              \
            __VA_ARGS__;                                                                                         \
        printf(name ": signal %d\n", s);                                                                         \
    } while (0)

int main(void) {
    signal(SIGSEGV, caught);
    signal(SIGILL, caught);
    ATTEMPT("hlt", asm volatile("hlt"));
    ATTEMPT("cli", asm volatile("cli"));
    ATTEMPT("in", asm volatile("inb $0x80, %%al" ::: "rax"));
    ATTEMPT("out", asm volatile("outb %%al, $0x80" ::: "rax"));
    ATTEMPT("cr3", asm volatile("mov %%cr3, %%rax" ::: "rax"));
    ATTEMPT("rdmsr", asm volatile("rdmsr" ::"c"(0x10) : "rax", "rdx"));
    ATTEMPT("lidt", asm volatile("lidt (%%rsp)" ::: "memory"));
    ATTEMPT("int 0x81", asm volatile("int $0x81"));
    ATTEMPT("kernel read", (void)*(volatile char *)0xffffffff80000000);
    DONE();
}
