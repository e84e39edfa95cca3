// Buffered output, unbuffered errors, formatted numbers and files by stdio.
// link: static
#include "t.h"

int main(void) {
    printf("%5d|%-5d|%05d|%x|%o|%lu\n", 42, 42, 42, 0xbeef, 8, 18446744073709551615UL);
    printf("%.3f %e %g %a\n", 3.14159, 12345.678, 1e-10, 1.0);
    printf("%s %c %p\n", "text", 'c', (void *)0);
    enter_scratch();
    FILE *f = fopen("file", "w+");
    NEED(f != NULL);
    for (int i = 0; i < 1000; i++)
        fprintf(f, "line %d\n", i);
    SHOW(ftell(f));
    rewind(f);
    char line[64];
    int count = 0;
    while (fgets(line, sizeof line, f))
        count++;
    SHOW(count);
    printf("last: %s", line);
    SHOW(fseek(f, -9, SEEK_END));
    int number = 0;
    SHOW(fscanf(f, "line %d", &number));
    SHOW(number);
    SHOW(fclose(f));
    f = tmpfile();
    CHECK(f != NULL && fputs("x", f) >= 0 && fclose(f) == 0);
    SHOW(remove("file"));
    SHOW(fopen("file", "r") == NULL);
    SHOW(write(1, "", 0));
    fflush(stdout);
    CHECK(dprintf(1, "direct\n") == 7);
    DONE();
}
