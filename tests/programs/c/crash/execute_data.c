// Executing data kills.
// report: SIGSEGV
#include "t.h"

static unsigned char code[] = {0xc3};

int main(void) {
    puts("before");
    ((void (*)(void))(uintptr_t)code)();
    puts("after");
    return 0;
}
