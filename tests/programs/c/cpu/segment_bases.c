// arch_prctl gives and takes the FS and GS bases of a thread; they stay across calls and switches.
// arch: x86-64
#include "t.h"
#include <asm/prctl.h>
#include <sched.h>

int main(void) {
    unsigned long fs = 0, gs = 1;
    SHOW(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
    CHECK(fs != 0);
    unsigned long self;
    asm("mov %%fs:0, %0" : "=r"(self));
    CHECK(self == fs);
    SHOW(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
    SHOW(gs);
    for (int i = 0; i < 100; i++)
        sched_yield();
    asm("mov %%fs:0, %0" : "=r"(self));
    CHECK(self == fs);
    SHOW(syscall(SYS_arch_prctl, 0x9999, 0));
    SHOW(syscall(SYS_arch_prctl, ARCH_SET_FS, 0xffff800000000000));
    SHOW(syscall(SYS_arch_prctl, ARCH_GET_FS, 8));
    DONE();
}
