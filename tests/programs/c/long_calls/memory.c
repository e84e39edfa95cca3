// Long changes of memory let other processes have their CPU: of many pages, and of many mappings. Linux on a busy machine may
// need longer to run another process than for some of them.
// machines: all
// linux: no
// stdout-has: all let others run
// memory: 192M
#include "long_calls.h"

#define LARGE (4UL << 30)
enum { PAGE = 4096, MAPPINGS = 60000 };

static char *area, *target;
static unsigned char *present;

static void new_area(void) {
    if (area)
        munmap(area, LARGE);
    area = private_memory(LARGE);
}

// Reads of memory that was never written take page tables only.
static void populate(void) { NEED(madvise(area, LARGE, MADV_POPULATE_READ) == 0); }

static void new_populated(void) {
    new_area();
    populate();
}

static void populated(void) {
    if (!area)
        new_populated();
}

static void map_populated(void) {
    void *at = mmap(area, LARGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE | MAP_FIXED, -1, 0);
    NEED(at == area);
}

static void discard(void) { NEED(madvise(area, LARGE, MADV_DONTNEED) == 0); }

static void unmap(void) { NEED(munmap(area, LARGE) == 0); }

static void protect(void) { NEED(mprotect(area, LARGE, PROT_NONE) == 0); }

static void look(void) { NEED(mincore(area, LARGE, present) == 0); }

static void move(void) {
    NEED(mremap(area, LARGE, LARGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE) == target + PAGE);
    area = target + PAGE;
}

static void new_to_be_moved(void) {
    new_populated();
    target = private_memory(LARGE + (2 << 20));
}

// Neighbours that differ are mappings of their own.
static void make_mappings(char *at) {
    for (int i = 0; i < MAPPINGS; i += 2)
        NEED(madvise(at + (size_t)i * PAGE, PAGE, MADV_WIPEONFORK) == 0);
}

static char *many;

static void new_many(void) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    if (many)
        return;
    many = private_memory((size_t)MAPPINGS * PAGE);
    make_mappings(many);
}

static void new_many_each_time(void) {
    if (many)
        munmap(many, (size_t)MAPPINGS * PAGE);
    many = NULL;
    new_many();
}

static void unmap_many(void) { NEED(munmap(many, (size_t)MAPPINGS * PAGE) == 0); }

static void protect_many(void) {
    static int rights;
    rights ^= PROT_READ;
    NEED(mprotect(many, (size_t)MAPPINGS * PAGE, rights) == 0);
}

static void copy_many(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
}

static void replace_many(void) {
    NEED(mmap(many, (size_t)MAPPINGS * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == many);
}

int main(void) {
    present = malloc(LARGE / PAGE);
    NEED(present != NULL);
    show("MADV_POPULATE_READ", others_run(new_area, populate), "lets others run");
    show("MAP_POPULATE", others_run(new_area, map_populated), "lets others run");
    show("MADV_DONTNEED", others_run(new_populated, discard), "lets others run");
    show("mprotect of many pages", others_run(new_populated, protect), "lets others run");
    show("mincore", others_run(populated, look), "lets others run");
    show("mremap", others_run(new_to_be_moved, move), "lets others run");
    show("munmap of many pages", others_run(new_populated, unmap), "lets others run");
    show("mprotect of many mappings", others_run(new_many, protect_many), "lets others run");
    show("fork with many mappings", others_run(new_many, copy_many), "lets others run");
    show("munmap of many mappings", others_run(new_many_each_time, unmap_many), "lets others run");
    show("MAP_FIXED over many mappings", others_run(new_many_each_time, replace_many), "lets others run");
    if (!t_failures)
        puts("all let others run");
    DONE();
}
