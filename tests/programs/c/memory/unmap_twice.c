// What was unmapped may be unmapped again, and is free: whatever the kernel maps for itself lies elsewhere.
#include "t.h"
#include <sched.h>
#include <sys/resource.h>
#include <sys/times.h>

#define SIZE (64 * 4096)

// System calls that were not made before, some times each: a kernel may note where they are made from.
static void calls(int kind) {
    struct rlimit limit;
    struct rusage usage;
    struct tms times_used;
    struct stat st;
    for (int i = 0; i < 4; i++) {
        switch (kind) {
        case 0: getppid(); break;
        case 1: getuid(); break;
        case 2: getrlimit(RLIMIT_CORE, &limit); break;
        case 3: getrusage(RUSAGE_SELF, &usage); break;
        case 4: times(&times_used); break;
        case 5: umask(022); break;
        case 6: fstat(0, &st); break;
        case 7: getpgrp(); break;
        case 8: lseek(99, 0, SEEK_SET); break;
        case 9: access("/", F_OK); break;
        case 10: sched_yield(); break;
        default: getegid(); break;
        }
    }
}

int main(void) {
    int taken = 0, moved = 0;
    for (int kind = 0; kind < 12; kind++) {
        char *a = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(a != MAP_FAILED);
        a[0] = a[SIZE - 1] = 1;
        CHECK(munmap(a, SIZE) == 0);
        calls(kind);
        char *b = mmap(a, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        taken += b == MAP_FAILED;
        moved += b != MAP_FAILED && b != a;
        CHECK(munmap(a, SIZE) == 0);
        CHECK(munmap(a, SIZE) == 0);
        calls(kind);
    }
    SHOW(taken);
    SHOW(moved);
    DONE();
}
