// The compiler's stack protector (its canary comes from AT_RANDOM) stops the program.
// flags: -fstack-protector-all -O0
#include "t.h"

__attribute__((noinline)) static void smash(size_t n) {
    char b[8];
    volatile char *p = b;
    for (size_t i = 0; i < n; i++)
        p[i] = 'x';
}

int main(void) {
    puts("before");
    smash(64);
    puts("after");
    return 0;
}
