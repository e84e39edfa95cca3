// The C and C.UTF-8 locales, wide characters, conversion, sorting, environment.
// env: LC_ALL=C.UTF-8
#include "t.h"
#include <langinfo.h>
#include <locale.h>
#include <wchar.h>

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int main(void) {
    puts(setlocale(LC_ALL, NULL));
    printf("%s\n", setlocale(LC_ALL, "C") ? "C is there" : "no C");
    puts(nl_langinfo(CODESET));
    wchar_t wide[16];
    SHOW(mbstowcs(wide, "abc", 16));
    SHOW(wcslen(wide));
    const char *words[] = {"pear", "apple", "fig"};
    qsort(words, 3, sizeof *words, compare);
    printf("%s %s %s\n", words[0], words[1], words[2]);
    SHOW(strtol("0x1f", NULL, 0));
    printf("%.3f\n", strtod("1e3", NULL));
    DONE();
}
