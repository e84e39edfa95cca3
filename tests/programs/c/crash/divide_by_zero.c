// Division by zero: SIGFPE, status 136.
// report: SIGFPE
// arch: x86-64
#include "t.h"

int main(void) {
    volatile int zero = 0;
    puts("before");
    return 100 / zero;
}
