// System calls from sites of all kinds, again and again: what looks like `mov $number, %eax` before a `syscall` but is the
// end of another instruction stays what it is.
// arch: x86-64
#include "t.h"
#include <sys/syscall.h>
#include <unistd.h>

// The usual site.
long usual(void);
// The four bytes before the `syscall` are the constant of a store, and the byte before them is its displacement: 0xb8, as
// in `mov $39, %eax`. Gives what was stored.
long store(void);
// The `mov` of a usual site is jumped over.
long jumped(void);
// Another instruction ends in the bytes of a `mov` to %eax with a prefix.
long prefixed(void);
__asm__(
    ".text\n"
    "usual: mov $39, %eax\n syscall\n ret\n"
    "store: movl $0, -0x48(%rsp)\n mov $39, %eax\n movl $39, -0x48(%rsp)\n syscall\n movslq -0x48(%rsp), %rax\n ret\n"
    "jumped: mov $39, %edx\n mov %rdx, %rax\n jmp 1f\n mov $39, %eax\n 1: syscall\n ret\n"
    "prefixed: mov $39, %eax\n mov $39, %r8d\n syscall\n mov %r8, %rax\n ret\n");

int main(void) {
    long wrong[4] = {0};
    for (int i = 0; i < 100; i++) {
        wrong[0] += usual() != getpid();
        wrong[1] += store() != 39;
        wrong[2] += jumped() != getpid();
        wrong[3] += prefixed() != 39;
    }
    for (int i = 0; i < 100; i++)
        wrong[1] += store() != 39;
    for (int i = 0; i < 100; i++)
        wrong[0] += usual() != getpid();
    SHOW(wrong[0]);
    SHOW(wrong[1]);
    SHOW(wrong[2]);
    SHOW(wrong[3]);
    DONE();
}
