// The number of a system call is the low half of rax.
// arch: x86-64
#include "t.h"

static long call(unsigned long rax) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(rax) : "rcx", "r11", "memory");
    return result;
}

int main(void) {
    SHOW(call(SYS_getpid) == getpid());
    SHOW(call(1ul << 32 | SYS_getpid) == getpid());
    SHOW(call(1ul << 63 | SYS_getpid) == getpid());
    SHOW(call(-1ul));
    SHOW(call(1ul << 31 | SYS_getpid));
    DONE();
}
