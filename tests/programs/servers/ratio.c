/* Two functions, of which one executes three times as many instructions as the other, for ever. */
#include <stdio.h>

static volatile unsigned sink;

/* A turn of the loop has the same instructions in both. */
#define TURNS(count)                                \
    for (unsigned turn = 0; turn < (count); turn++) \
        sink = sink * 3 + turn

__attribute__((noinline, noipa)) static void one_part(void) { TURNS(10000); }

__attribute__((noinline, noipa)) static void three_parts(void) { TURNS(30000); }

int main(void)
{
    puts("ready");
    fflush(stdout);
    for (;;) {
        one_part();
        three_parts();
    }
}
