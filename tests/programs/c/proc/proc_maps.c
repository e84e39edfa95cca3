// /proc/self/maps lists every mapping in order with its rights and file.
#include "t.h"
#include <pthread.h>

static int data_variable = 1;

static int describe(const void *address, char rights[5], char name[256]) {
    FILE *f = fopen("/proc/self/maps", "r");
    NEED(f != NULL);
    char line[1024];
    int found = 0;
    unsigned long last = 0;
    while (fgets(line, sizeof line, f)) {
        unsigned long low, high, offset, inode;
        unsigned major, minor;
        char r[5], n[256] = "";
        CHECK(sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %255[^\n]", &low, &high, r, &offset, &major, &minor, &inode, n) >= 7);
        CHECK(low >= last && high > low && low % 4096 == 0 && high % 4096 == 0);
        last = high;
        if ((unsigned long)address >= low && (unsigned long)address < high) {
            found++;
            memcpy(rights, r, 5);
            strcpy(name, n);
        }
    }
    fclose(f);
    return found;
}

static void show(const char *what, const void *address) {
    char rights[5] = "", name[256] = "";
    int n = describe(address, rights, name);
    char *last = strrchr(name, '/');
    printf("%s: %d %s %s\n", what, n, rights, last ? last + 1 : name);
}

int main(void) {
    int local = 0;
    show("text", (void *)(uintptr_t)main);
    show("constant", "constant");
    show("data", &data_variable);
    show("stack", &local);
    show("heap", sbrk(0) ? malloc(10) : NULL);
    show("libc", (void *)(uintptr_t)puts);
    char *a = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show("anonymous", a);
    mprotect(a + 4096, 4096, PROT_READ);
    show("protected", a + 4096);
    mprotect(a, 4096, PROT_NONE);
    show("none", a);
    munmap(a + 4096, 4096);
    show("hole", a + 4096);
    show("shared", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    show("null", NULL);
    // glibc finds the main thread's stack through this file.
    pthread_attr_t attr;
    void *low;
    size_t size;
    SHOW_ERROR(pthread_getattr_np(pthread_self(), &attr));
    pthread_attr_getstack(&attr, &low, &size);
    CHECK((char *)&local >= (char *)low && (char *)&local < (char *)low + size);
    SHOW(size >= 1 << 20);
    DONE();
}
