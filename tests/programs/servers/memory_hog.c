// Touches more memory than the machine has.
#include "t.h"

int main(void) {
    for (;;) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(p != MAP_FAILED);
        memset(p, 1, 1 << 20);
    }
}
