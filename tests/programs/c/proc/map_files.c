// /proc/PID/map_files (proc(5)): a link for each mapping of a file, with the addresses of /proc/PID/maps; no other names.
#include "t.h"
#include <dirent.h>

int main(void) {
    enter_scratch();
    int fd = open("mapped", O_RDWR | O_CREAT, 0600);
    NEED(fd >= 0 && ftruncate(fd, 3 * 4096) == 0);
    char *map = mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    char *none = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(map != MAP_FAILED && none != MAP_FAILED);
    unsigned long start = (unsigned long)map, end = start + 3 * 4096, other = (unsigned long)none;
    char name[128], path[PATH_MAX], link[PATH_MAX], working[PATH_MAX];
    NEED(getcwd(working, sizeof working) != NULL);

    static const char *const NAMES[] = {"%lx-%lx", "0%lx-%lx", "%lx-0%lx", "0x%lx-%lx", " %lx-%lx", "%lx-%lx ", "%lx--%lx", "%lX-%lX-"};
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, NAMES[i], start, end);
        snprintf(path, sizeof path, "/proc/self/map_files/%s", name);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        printf("%s: %s\n", NAMES[i],
               n < 0 ? t_errno(errno) : strncmp(link, working, strlen(working)) ? link : link + strlen(working));
    }
    unsigned long wrong[][2] = {{start, end - 4096}, {start + 4096, end}, {start, end + 4096}, {other, other + 4096}, {0, 4096}};
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", wrong[i][0], wrong[i][1]);
        SHOW(readlink(path, link, sizeof link));
    }

    // All that are in maps with an inode, in their order, and no others.
    DIR *list = opendir("/proc/self/map_files");
    FILE *maps = fopen("/proc/self/maps", "r");
    NEED(list && maps);
    struct dirent *entry;
    char line[PATH_MAX + 128];
    int differ = 0, found = 0;
    while ((entry = readdir(list))) {
        if (entry->d_name[0] == '.')
            continue;
        unsigned long from, to, inode = 0;
        while (!inode && fgets(line, sizeof line, maps))
            NEED(sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3);
        snprintf(name, sizeof name, "%lx-%lx", from, to);
        differ += !inode || strcmp(name, entry->d_name) != 0;
        found += from == start;
    }
    SHOW(differ);
    SHOW(found);
    unlink("mapped");
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", start, end);
    ssize_t n = readlink(path, link, sizeof link);
    printf("removed: %.*s\n", 10, n > 10 ? link + n - 10 : "");
    NEED(chdir("/") == 0 && rmdir(working) == 0);
    DONE();
}
