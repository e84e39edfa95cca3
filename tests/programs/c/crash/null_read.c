// Reading page zero is no data.
#include "t.h"

int main(void) {
    puts("before");
    printf("%d\n", *(volatile int *)4);
    return 0;
}
