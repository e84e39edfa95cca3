// Forgets memory that it has used, 64 KiB at a time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOST = 1 << 16, PAUSE_US = 20000 };

int main(void) {
    puts("ready");
    fflush(stdout);
    for (;;) {
        char *lost = malloc(LOST);
        if (lost == NULL)
            pause();
        memset(lost, 1, LOST);
        usleep(PAUSE_US);
    }
}
