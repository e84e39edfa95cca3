// Threads that map, unmap, protect, move, discard and touch the same pages at once.
// machines: all
// flags: -pthread
#include "stress.h"

// A step reaches up to LONGEST pages beyond the one where it begins.
enum { PAGES = 64, LONGEST = 8, PAGE = 4096 };
static char *area;
static int file;

static void stress_step(unsigned thread) {
    (void)thread;
    char *at = area + PAGE * below(PAGES - LONGEST), vector[LONGEST];
    size_t len = PAGE * (1 + below(LONGEST));
    const int rw = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    switch (below(11)) {
    case 0: mmap(at, len, rw, anonymous | MAP_FIXED, -1, 0); break;
    case 1: munmap(at, len); break;
    case 2: mprotect(at, len, (int)below(8)); break;
    case 3: {
        const int advice[] = {MADV_DONTNEED, MADV_FREE, 22, 23, MADV_DONTFORK, MADV_WIPEONFORK};
        madvise(at, len, advice[below(6)]);
        break;
    }
    case 4: {
        size_t wanted = PAGE * (1 + below(LONGEST));
        char *moved = mremap(at, len, wanted, MREMAP_MAYMOVE);
        if (moved != MAP_FAILED && (moved < area || moved >= area + PAGES * PAGE))
            munmap(moved, wanted);
        break;
    }
    case 5: {
        char *fresh = mmap(NULL, len, rw, anonymous, -1, 0);
        if (fresh != MAP_FAILED) {
            // Touched by the kernel: it may lie in a hole of the area, where it is soon something else.
            (void)!pread(file, fresh, 1, 0);
            if (mremap(fresh, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
                munmap(fresh, len);
        }
        break;
    }
    // The kernel touches them, which fails where nothing is.
    case 6: (void)!pread(file, at, 2 * PAGE, 0); break;
    case 7: (void)!pwrite(file, at, 2 * PAGE, below(PAGE)); break;
    case 8: mmap(at, 2 * PAGE, rw, MAP_SHARED | MAP_FIXED, file, 0); break;
    case 9: mincore(at, len, (unsigned char *)vector); break;
    case 10: mlock(at, len), munlock(at, len); break;
    }
}

int main(void) {
    enter_scratch();
    write_file("file", "text");
    file = open("file", O_RDWR);
    NEED(ftruncate(file, 16 * PAGE) == 0);
    area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stress();
    // What is mapped now works.
    NEED(mmap(area, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area);
    memset(area, 7, PAGES * PAGE);
    SHOW(area[PAGES * PAGE - 1]);
    DONE();
}
