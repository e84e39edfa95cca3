// brk and sbrk move the end of the heap; fresh pages read as zero; what was given back faults no more as data.
// link: musl
#include "t.h"

int main(void) {
    char *start = (char *)syscall(SYS_brk, 0);
    CHECK(start != NULL);
    char *end = (char *)syscall(SYS_brk, start + 3 * 4096 + 5);
    SHOW(end - start);
    int sum = 0;
    for (int i = 0; i < 3 * 4096 + 5; i++)
        sum += start[i];
    SHOW(sum);
    memset(start, 0x5a, 3 * 4096 + 5);
    SHOW((char *)syscall(SYS_brk, start) - start);
    SHOW((char *)syscall(SYS_brk, start + 4096) - start);
    SHOW(start[100]);
    SHOW((char *)syscall(SYS_brk, 1) - start);
    SHOW((char *)syscall(SYS_brk, (char *)0x7fffffffffff) - start);
    DONE();
}
