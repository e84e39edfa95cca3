// The exit status of main is that of the machine; only its low eight bits count.
#include "t.h"

static void last(void) { puts("atexit handler"); }

int main(void) {
    atexit(last);
    puts("exit(0x12b)");
    exit(0x12b);
}
