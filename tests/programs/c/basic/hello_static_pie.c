// A static-PIE program relocates itself: pointers in its data are right.
// link: static-pie
#include "t.h"

static const char *words[] = {"position", "independent", "and", "static"};
static int (*const print)(const char *) = puts;

int main(void) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        print(words[i]);
    return 0;
}
