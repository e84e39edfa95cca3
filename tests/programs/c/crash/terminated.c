// A program that sends itself SIGTERM ends with status 143; what it wrote is there.
// link: static
#include "t.h"

int main(void) {
    puts("bye");
    kill(getpid(), SIGTERM);
    for (;;)
        pause();
}
