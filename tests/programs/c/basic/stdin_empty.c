// Standard input that is empty is at its end, again and again.
#include "t.h"

int main(void) {
    char byte;
    SHOW(read(0, &byte, 1));
    SHOW(read(0, &byte, 1));
    SHOW(read(0, &byte, 0));
    return 0;
}
