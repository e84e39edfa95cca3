// Standard input line by line, with every byte as it was sent, up to its end.
// stdin: first line\nsecond\n\ttabs and \x01\x7f\xff\x00 bytes\nlast without newline
#include "t.h"

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    while ((n = getline(&line, &size, stdin)) > 0) {
        printf("%zd:", n);
        for (ssize_t i = 0; i < n; i++)
            printf(" %02x", (unsigned char)line[i]);
        putchar('\n');
    }
    SHOW(feof(stdin) != 0);
    free(line);
    return 0;
}
