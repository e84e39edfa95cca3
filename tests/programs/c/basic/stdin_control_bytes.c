// Bytes that a terminal would act on (0x03, 0x04, 0x16, 0x1a, 0x1c) arrive as data.
// stdin: a\x04b\x16c\x03d\x1ae\x1cf\n\x04\x04\n
#include "t.h"

int main(void) {
    int c;
    while ((c = getchar()) != EOF)
        printf("%02x ", (unsigned)c);
    putchar('\n');
    return 0;
}
