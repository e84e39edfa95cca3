// /proc/PID/mem, pagemap, ns, numa_maps and sched.
#include "t.h"
#include <sys/wait.h>

enum { PAGE = 4096 };
static char word[] = "before";
static const char constant[] = "constant";

static void link_of(const char *name) {
    char path[64], text[64], kind[64];
    unsigned long inode;
    struct stat s;
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    ssize_t n = readlink(path, text, sizeof text - 1);
    NEED(n > 0);
    text[n] = 0;
    NEED(sscanf(text, "%63[a-z]:[%lu]", kind, &inode) == 2);
    NEED(stat(path, &s) == 0);
    printf("%s: %s, %s\n", name, kind, s.st_ino == inode ? "the link names the file" : "they differ");
}

int main(void) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/%d/mem", child);
    int fd = open(path, O_RDWR);
    NEED(fd >= 0);
    SHOW(pread(fd, text, sizeof word, (off_t)(uintptr_t)word));
    puts(text);
    SHOW(pwrite(fd, "after.", 6, (off_t)(uintptr_t)word));
    SHOW(pread(fd, text, sizeof word, (off_t)(uintptr_t)word));
    puts(text);
    puts(word);
    // What the program itself may only read.
    SHOW(pwrite(fd, "C", 1, (off_t)(uintptr_t)constant));
    SHOW(pread(fd, text, sizeof constant, (off_t)(uintptr_t)constant));
    printf("%s %s\n", text, constant);
    SHOW(pread(fd, text, 1, 8));
    SHOW(pwrite(fd, text, 1, 8));
    char *edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(edge != MAP_FAILED && munmap(edge + PAGE, PAGE) == 0);
    static char page[2 * PAGE];
    int self = open("/proc/self/mem", O_RDONLY);
    NEED(self >= 0);
    SHOW(pread(self, page, 2 * PAGE, (off_t)(uintptr_t)edge));
    SHOW(lseek(self, (off_t)(uintptr_t)word, SEEK_SET) == (off_t)(uintptr_t)word);
    SHOW(read(self, text, 6));
    printf("%.6s\n", text);
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    // Its memory is gone, though a file of it is open.
    SHOW(pread(fd, text, 6, (off_t)(uintptr_t)word));

    char *m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(m != MAP_FAILED);
    m[0] = 1;
    uint64_t words[2];
    int map = open("/proc/self/pagemap", O_RDONLY);
    NEED(map >= 0);
    SHOW(pread(map, words, 16, (off_t)((uintptr_t)m / PAGE * 8)));
    printf("%d %d\n", (int)(words[0] >> 63), (int)(words[1] >> 63));
    SHOW(pread(map, words, 7, 0));
    SHOW(pread(map, words, 8, 4));

    link_of("mnt"), link_of("uts"), link_of("ipc"), link_of("net"), link_of("pid"), link_of("user"), link_of("cgroup");
    SHOW(access("/proc/self/numa_maps", R_OK));
    SHOW(access("/proc/self/attr/current", R_OK));
    FILE *sched = fopen("/proc/self/sched", "r");
    NEED(sched);
    char line[256], name[64];
    int found = 0;
    long value;
    while (fgets(line, sizeof line, sched))
        found += sscanf(line, "%63s : %ld", name, &value) == 2 && (!strcmp(name, "nr_switches") || !strcmp(name, "prio"));
    SHOW(found);
    DONE();
}
