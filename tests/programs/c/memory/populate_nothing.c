// madvise with MADV_POPULATE_READ and _WRITE where nothing is mapped, and where nothing can be: page zero, and beyond the program's end.
#include "t.h"

#define PAGE 4096

static void populate(const char *where, void *address, size_t len) {
    int advice[] = {MADV_POPULATE_READ, MADV_POPULATE_WRITE};
    for (int i = 0; i < 2; i++) {
        printf("%s: ", where);
        SHOW(madvise(address, len, advice[i]));
    }
}

int main(void) {
    populate("page zero", NULL, PAGE);
    populate("low pages", (void *)PAGE, 8 * PAGE);
    populate("last page", (void *)0x7ffffffff000, PAGE);
    populate("beyond the end", (void *)0x800000000000, PAGE);
    populate("the kernel's", (void *)0xffff800000000000, PAGE);
    char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(pages != MAP_FAILED);
    populate("three pages", pages, 3 * PAGE);
    NEED(munmap(pages + PAGE, PAGE) == 0);
    populate("a hole", pages, 3 * PAGE);
    unsigned char there[1];
    SHOW(mincore(NULL, PAGE, there));
    SHOW(mincore((void *)0x7ffffffff000, PAGE, there));
    DONE();
}
