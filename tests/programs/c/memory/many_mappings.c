// Tens of thousands of mappings: made, listed, cut until a process may have no more (vm.max_map_count, ENOMEM of
// mprotect(2) and munmap(2)), and removed.
// link: static
// memory: 128M
#include "t.h"
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096ul
#define MANY 60000l
#define LIMIT 65530l

/* Lines of /proc/self/maps that lie in a range, read in odd pieces. */
static long lines_within(char *from, char *to) {
    int fd = open("/proc/self/maps", O_RDONLY);
    CHECK(fd >= 0);
    static char text[5000];
    size_t kept = 0;
    long found = 0;
    unsigned long before = 0;
    for (;;) {
        long got = read(fd, text + kept, 1021);
        CHECK(got >= 0);
        if (got == 0)
            break;
        kept += got;
        text[kept] = 0;
        char *line = text, *end;
        while ((end = strchr(line, '\n'))) {
            unsigned long start = strtoul(line, NULL, 16);
            CHECK(start >= before);
            before = start;
            found += start >= (unsigned long)from && start < (unsigned long)to;
            line = end + 1;
        }
        kept -= line - text;
        memmove(text, line, kept);
    }
    CHECK(kept == 0);
    close(fd);
    return found;
}

int main(void) {
    // Every second page may be read, so that no two neighbours are one mapping.
    char *room = mmap(0, MANY * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED);
    for (long i = 0; i < MANY; i += 2)
        CHECK(mmap(room + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
              room + i * PAGE);
    for (long i = 0; i < MANY; i += 2000)
        room[i * PAGE] = i / 2000;
    SHOW(lines_within(room, room + MANY * PAGE));
    // Holes among them are found.
    char *hole = room + 30001 * PAGE;
    CHECK(munmap(hole, PAGE) == 0);
    SHOW(lines_within(room, room + MANY * PAGE));
    SHOW(mmap(hole, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == hole);
    // A child has them all.
    pid_t child = fork();
    if (child == 0) {
        int right = 1;
        for (long i = 0; i < MANY; i += 2000)
            right &= room[i * PAGE] == i / 2000;
        _exit(right && lines_within(room, room + MANY * PAGE) == MANY ? 7 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    SHOW(WEXITSTATUS(status));
    // To the limit, by mprotect: each cuts one mapping into three.
    char *more = mmap(0, 20000 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(more != MAP_FAILED);
    long cuts = 0;
    while (cuts < 9000 && mprotect(more + (2 * cuts + 1) * PAGE, PAGE, PROT_READ) == 0)
        cuts++;
    SHOW(mprotect(more + (2 * cuts + 1) * PAGE, PAGE, PROT_READ));
    SHOW(MANY + 2 * cuts > LIMIT - 100 && MANY + 2 * cuts <= LIMIT + 1);
    // What needs further mappings is refused, what doesn't is not.
    for (int i = 0; i < 3; i++)
        mmap(0, PAGE, i % 2 ? PROT_READ : PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SHOW((long)mmap(0, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    char *whole = more + (2 * cuts + 2) * PAGE;
    SHOW(munmap(whole + 2 * PAGE, PAGE));
    SHOW((long)mremap(room, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    SHOW(munmap(room, 2 * PAGE));
    SHOW(mprotect(room + 2 * PAGE, 2 * PAGE, PROT_READ));
    // Over all of them at once.
    SHOW(mmap(room, MANY * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == room);
    SHOW(lines_within(room, room + MANY * PAGE));
    SHOW(room[2000 * PAGE]);
    SHOW(munmap(more, 20000 * PAGE));
    SHOW(lines_within(more, more + 20000 * PAGE));
    DONE();
}
