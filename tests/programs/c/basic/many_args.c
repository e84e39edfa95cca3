// The stack holds a large environment made by the program for itself, and deep recursion beyond its first pages.
// args: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
#include "t.h"
#include <alloca.h>

static int depth(int n) {
    volatile char page[4096];
    page[0] = (char)n;
    return n == 0 ? page[0] : 1 + depth(n - 1);
}

int main(int argc, char **argv) {
    long sum = 0;
    for (int i = 1; i < argc; i++)
        sum += atoi(argv[i]);
    SHOW(argc);
    SHOW(sum);
    SHOW(depth(1500));
    volatile char *big = alloca(1 << 20);
    big[0] = 7;
    SHOW(big[0]);
    return 0;
}
