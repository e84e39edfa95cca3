// Anonymous mappings are zero, page-aligned, do not overlap, and can be unmapped in part.
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static void caught(int signal) { siglongjmp(out, signal); }
static int readable(volatile char *p) {
    if (sigsetjmp(out, 1))
        return 0;
    (void)*p;
    return 1;
}

int main(void) {
    signal(SIGSEGV, caught);
    char *a = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *b = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(a != MAP_FAILED && b != MAP_FAILED);
    SHOW((uintptr_t)a % 4096);
    CHECK(b + 4096 <= a || b >= a + 5 * 4096);
    CHECK(a[0] == 0 && a[5 * 4096 - 1] == 0);
    b[4095] = 9;
    SHOW(b[4095]);
    memset(a, 1, 5 * 4096);
    SHOW(munmap(a + 4096, 4096));
    SHOW(munmap(a + 3 * 4096, 4096));
    for (int i = 0; i < 5; i++)
        printf("page %d readable: %d\n", i, readable(a + i * 4096));
    SHOW(munmap(a, 5 * 4096));
    SHOW(munmap(a, 5 * 4096));
    SHOW(munmap(a + 1, 4096));
    SHOW(munmap(a, 0));
    SHOW((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0));
    SHOW((long)mmap(NULL, 1UL << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 77, 0));
    SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 0, 1));
    DONE();
}
