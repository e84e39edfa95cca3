/* hello.c: the smallest program, for what starting takes and for the smallest memory. */
#include <stdio.h>

int main(void)
{
    puts("hello from the guest");
    return 0;
}
