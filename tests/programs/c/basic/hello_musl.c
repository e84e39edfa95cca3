// A program linked statically against musl: its own start code, TLS and stdio.
// link: musl
#include "t.h"

static __thread int counter = 41;

int main(void) {
    counter++;
    printf("hello from musl, %d\n", counter);
    fprintf(stderr, "and on stderr\n");
    return 3;
}
