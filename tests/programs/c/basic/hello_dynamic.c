// A dynamically linked program (glibc, ld.so, relro) says hello.
// flags: -lm
#include "t.h"
#include <math.h>

int main(int argc, char **argv) {
    printf("hello, %d argument, named %s\n", argc, argv[0] ? "so" : "nothing");
    printf("sqrt(2) = %.15f\n", sqrt(argc + 1.0));
    return 0;
}
