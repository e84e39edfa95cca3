// Memory policies, as programs use them that ask for the nodes of the machine: the first node alone.
#include "t.h"
#include <linux/mempolicy.h>

enum { PAGE = 4096 };
static unsigned long mask, got[16];
static int mode;

static long set(int how, unsigned long *nodes, unsigned long bits) { return syscall(SYS_set_mempolicy, how, nodes, bits); }
static long get(unsigned long *nodes, unsigned long bits, void *at, int flags) {
    mode = -1;
    memset(got, 0xff, sizeof got);
    return syscall(SYS_get_mempolicy, &mode, nodes, bits, at, flags);
}
static long bind_to(void *at, size_t len, int how, unsigned long *nodes, unsigned long bits, int flags) {
    return syscall(SYS_mbind, at, len, how, nodes, bits, flags);
}

int main(void) {
    char *m = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(m != MAP_FAILED);
    SHOW(get(got, 1024, NULL, 0));
    printf("mode %d, nodes %lx %lx\n", mode, got[0], got[15]);
    SHOW(get(got, 1024, NULL, MPOL_F_MEMS_ALLOWED));
    CHECK(got[0] & 1);
    SHOW(get(NULL, 0, NULL, MPOL_F_MEMS_ALLOWED | MPOL_F_NODE));
    SHOW(get(NULL, 0, NULL, MPOL_F_NODE));
    SHOW(get(NULL, 0, m, 0));
    SHOW(get(NULL, 0, NULL, 8));
    SHOW(get(NULL, 0, NULL, MPOL_F_ADDR));
    SHOW(get(NULL, 0, m, MPOL_F_ADDR | MPOL_F_NODE));
    printf("node %d\n", mode);
    mask = 1;
    SHOW(set(MPOL_BIND, &mask, 64));
    SHOW(get(got, 1024, NULL, 0));
    printf("mode %d, nodes %lx\n", mode, got[0]);
    SHOW(set(MPOL_INTERLEAVE, &mask, 64));
    SHOW(get(NULL, 0, NULL, MPOL_F_NODE));
    printf("node %d\n", mode);
    SHOW(set(MPOL_PREFERRED, NULL, 0));
    SHOW(get(got, 1024, NULL, 0));
    printf("mode %d, nodes %lx\n", mode, got[0]);
    SHOW(set(MPOL_DEFAULT, &mask, 64));
    SHOW(set(MPOL_LOCAL, &mask, 64));
    SHOW(set(MPOL_BIND, NULL, 0));
    SHOW(set(99, NULL, 0));
    SHOW(set(MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, &mask, 64));
    SHOW(set(MPOL_BIND, (void *)8, 64));
    SHOW(set(MPOL_BIND, &mask, 1 << 20));
    SHOW(set(MPOL_DEFAULT, NULL, 0));

    SHOW(bind_to(m, 8 * PAGE, MPOL_BIND, &mask, 64, MPOL_MF_STRICT));
    SHOW(bind_to(m + 1, PAGE, MPOL_BIND, &mask, 64, 0));
    SHOW(bind_to(m, PAGE, MPOL_BIND, &mask, 64, 64));
    SHOW(bind_to(m, 0, MPOL_BIND, &mask, 64, 0));
    SHOW(bind_to(m, (size_t)-PAGE, MPOL_BIND, &mask, 64, 0));
    SHOW(munmap(m + 4 * PAGE, PAGE));
    SHOW(bind_to(m, 8 * PAGE, MPOL_BIND, &mask, 64, 0));

    m[0] = 1;
    void *pages[] = {m, m + PAGE, m + 4 * PAGE};
    int nodes[] = {0, 0, 0}, states[] = {9, 9, 9};
    SHOW(syscall(SYS_move_pages, 0, 3, pages, NULL, states, 0));
    printf("%d %d %d\n", states[0], states[1], states[2]);
    SHOW(syscall(SYS_move_pages, 0, 1, pages, nodes, states, MPOL_MF_MOVE));
    printf("%d\n", states[0]);
    SHOW(syscall(SYS_move_pages, 0, 1, pages, NULL, states, 1));
    SHOW(syscall(SYS_move_pages, 0x7fffffff, 1, pages, NULL, states, 0));
    SHOW(syscall(SYS_migrate_pages, 0, 64, &mask, &mask));
    SHOW(syscall(SYS_migrate_pages, 0x7fffffff, 64, &mask, &mask));
    DONE();
}
