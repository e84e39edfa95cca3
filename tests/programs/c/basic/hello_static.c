// A static program says hello and ends with 0.
// link: static
#include "t.h"

int main(void) {
    puts("hello from a static program");
    return 0;
}
