// A program linked dynamically against musl: another interpreter than glibc's.
// link: musl-dynamic
#include "t.h"

int main(void) {
    char *text = strdup("the interpreter is musl's");
    puts(text);
    free(text);
    return 0;
}
