// An undefined instruction: SIGILL, status 132.
// report: SIGILL
#include "t.h"

int main(void) {
    puts("before");
    asm volatile(UNDEFINED);
    return 0;
}
