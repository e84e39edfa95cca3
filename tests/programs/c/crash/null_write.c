// Writing through a null pointer kills the program: status 139, with a report that names the function.
// report: SIGSEGV
// report: broken_function
#include "t.h"

__attribute__((noinline)) void broken_function(volatile int *p) { *p = 1; }

int main(void) {
    puts("before");
    broken_function(NULL);
    puts("after");
    return 0;
}
