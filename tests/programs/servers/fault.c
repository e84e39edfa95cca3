// Writes where nothing is, after a while.
#include <unistd.h>

int main(void) {
    usleep(100000);
    *(volatile int *)8 = 1;
}
