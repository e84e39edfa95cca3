// The vDSO has the functions libc looks for, they run without faults, and agree with the system calls.
#include "t.h"
#include <elf.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

static void *find(const char *name) {
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
    const Elf64_Ehdr *e = (const Elf64_Ehdr *)base;
    const Elf64_Phdr *p = (const Elf64_Phdr *)(base + e->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    uintptr_t bias = 0;
    for (int i = 0; i < e->e_phnum; i++) {
        if (p[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(base + p[i].p_offset);
        if (p[i].p_type == PT_LOAD)
            bias = (uintptr_t)base + p[i].p_offset - p[i].p_vaddr;
    }
    const Elf64_Sym *symbols = NULL;
    const char *strings = NULL;
    const uint32_t *hash = NULL, *gnu = NULL;
    for (const Elf64_Dyn *d = dynamic; d && d->d_tag; d++) {
        void *p2 = (void *)(bias + d->d_un.d_ptr);
        if (d->d_tag == DT_SYMTAB)
            symbols = p2;
        if (d->d_tag == DT_STRTAB)
            strings = p2;
        if (d->d_tag == DT_HASH)
            hash = p2;
        if (d->d_tag == DT_GNU_HASH)
            gnu = p2;
    }
    uint32_t count = hash ? hash[1] : 0;
    if (!hash && gnu) {
        const uint32_t *buckets = gnu + 4 + gnu[2] * 2, *chain = buckets + gnu[0];
        for (uint32_t i = 0; i < gnu[0]; i++)
            if (buckets[i]) {
                uint32_t s = buckets[i];
                while (!(chain[s - gnu[1]] & 1))
                    s++;
                if (s + 1 > count)
                    count = s + 1;
            }
    }
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(strings + symbols[i].st_name, name))
            return (void *)(bias + symbols[i].st_value);
    return NULL;
}

int main(void) {
#ifdef __aarch64__
    // Linux's has no more than these, with other names.
    int (*clock_get)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))find("__kernel_clock_gettime");
    int (*day)(struct timeval *, void *) = (int (*)(struct timeval *, void *))find("__kernel_gettimeofday");
    int (*resolution)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))find("__kernel_clock_getres");
    NEED(find("__kernel_rt_sigreturn"));
    time_t (*seconds)(time_t *) = time;
    int (*cpu)(unsigned *, unsigned *, void *) = (int (*)(unsigned *, unsigned *, void *))getcpu;
#else
    int (*clock_get)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))find("__vdso_clock_gettime");
    int (*day)(struct timeval *, void *) = (int (*)(struct timeval *, void *))find("__vdso_gettimeofday");
    time_t (*seconds)(time_t *) = (time_t(*)(time_t *))find("__vdso_time");
    int (*cpu)(unsigned *, unsigned *, void *) = (int (*)(unsigned *, unsigned *, void *))find("__vdso_getcpu");
    int (*resolution)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))find("__vdso_clock_getres");
#endif
    NEED(resolution && clock_get && day && seconds && cpu);
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};
    int bad = 0;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 200; k++) {
            struct timespec a, b, c;
            bad += syscall(SYS_clock_gettime, clocks[i], &a) != 0;
            bad += clock_get(clocks[i], &b) != 0;
            bad += syscall(SYS_clock_gettime, clocks[i], &c) != 0;
            long x = a.tv_sec * 1000000000 + a.tv_nsec, y = b.tv_sec * 1000000000 + b.tv_nsec,
                 z = c.tv_sec * 1000000000 + c.tv_nsec;
            bad += x > y || y > z;
        }
    SHOW(bad);
    struct timeval tv;
    SHOW(day(&tv, NULL));
    CHECK(labs(seconds(NULL) - tv.tv_sec) <= 1);
    struct timespec length, same;
    SHOW(resolution(CLOCK_MONOTONIC, &length));
    CHECK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, &same) == 0 && length.tv_nsec == same.tv_nsec && length.tv_sec == same.tv_sec);
    SHOW(resolution(CLOCK_PROCESS_CPUTIME_ID, NULL));
    // Clocks that are system calls behind it, and one that does not exist.
    SHOW(clock_get(CLOCK_THREAD_CPUTIME_ID, &length));
    SHOW(clock_get(CLOCK_MONOTONIC_RAW, &length));
    CHECK(clock_get(99, &length) != 0);
    unsigned c = 99;
    SHOW(cpu(&c, NULL, NULL));
    CHECK(c < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    DONE();
}
