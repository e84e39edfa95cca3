// Endless recursion runs into the guard below the stack.
// report: SIGSEGV
#include "t.h"

static int recurse(volatile char *above) {
    volatile char frame[1000];
    frame[0] = above[0];
    return recurse(frame) + frame[0];
}

int main(void) {
    puts("going down");
    return recurse((char[]){1});
}
