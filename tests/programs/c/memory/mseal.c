// Memory that is sealed: what can no longer be done with it.
#include "t.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
enum { PAGE = 4096 };

static long seal(void *at, size_t len, unsigned long flags) { return syscall(SYS_mseal, at, len, flags); }

// 0, or the error of a call that returns an address.
static int error_of(void *result) { return result == MAP_FAILED ? errno : 0; }

int main(void) {
    char *m = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(m != MAP_FAILED);
    memset(m, 1, 16 * PAGE);
    NEED(munmap(m + 12 * PAGE, PAGE) == 0);
    SHOW(seal(m, PAGE, 1));
    SHOW(seal(m + 1, PAGE, 0));
    SHOW(seal(m, (size_t)-PAGE, 0));
    SHOW(seal(m, (size_t)-1, 0));
    SHOW(seal(m, 0, 0));
    SHOW(seal(m + 11 * PAGE, 2 * PAGE, 0));
    SHOW(munmap(m + 11 * PAGE, PAGE));
    NEED(mprotect(m + 4 * PAGE, 2 * PAGE, PROT_READ) == 0);

    // Pages 2 to 5 are sealed, of which 4 and 5 are read-only.
    SHOW(seal(m + 2 * PAGE, 4 * PAGE, 0));
    SHOW(seal(m + 2 * PAGE, 4 * PAGE, 0));
    SHOW(munmap(m + 2 * PAGE, PAGE));
    SHOW(munmap(m + 5 * PAGE, 2 * PAGE));
    SHOW(mprotect(m + 2 * PAGE, PAGE, PROT_READ));
    SHOW(mprotect(m + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE));
    SHOW(error_of(mmap(m + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    SHOW(error_of(mremap(m + 2 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE)));
    SHOW(error_of(mremap(m + 2 * PAGE, 2 * PAGE, PAGE, 0)));
    SHOW(error_of(mremap(m + 8 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m + 3 * PAGE)));
    SHOW(madvise(m + 2 * PAGE, PAGE, MADV_DONTNEED));
    SHOW(m[2 * PAGE]);
    SHOW(madvise(m + 4 * PAGE, PAGE, MADV_DONTNEED));
    SHOW(madvise(m + 4 * PAGE, PAGE, MADV_FREE));
    SHOW(madvise(m + 4 * PAGE, PAGE, MADV_DONTFORK));
    SHOW(madvise(m + 4 * PAGE, PAGE, MADV_WIPEONFORK));
    SHOW(madvise(m + 4 * PAGE, PAGE, MADV_WILLNEED));
    SHOW(m[4 * PAGE]);
    m[3 * PAGE] = 7;
    SHOW(m[3 * PAGE]);
    // What is beside them is as before.
    SHOW(mprotect(m, 2 * PAGE, PROT_READ));
    SHOW(munmap(m, 2 * PAGE));
    SHOW(munmap(m + 6 * PAGE, 2 * PAGE));
    DONE();
}
