// Files of an image under a volume (`--root-volume`): what is there as Linux's overlayfs has it. Run by tests/tests/volumes.rs.
#include "t.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#ifndef RENAME_EXCHANGE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static int rename2(const char *from, const char *to, int flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
static void put(const char *path, const char *text, int flags) {
    int fd = open(path, O_WRONLY | flags, 0644);
    NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0 && close(fd) == 0);
}
static void show(const char *path) {
    char bytes[64] = "";
    int fd = open(path, O_RDONLY);
    long len = fd < 0 ? -errno : read(fd, bytes, sizeof bytes - 1);
    printf("%s: %ld %s\n", path, len, bytes);
    close(fd);
}
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
// All that a directory has, with what does not depend on the machine.
static void tree(const char *path) {
    struct dirent **list;
    int n = scandir(path, &list, NULL, by_name);
    printf("%s has %d\n", path, n);
    for (int i = 0; i < n; i++) {
        char name[512], bytes[32] = "";
        const char *entry = list[i]->d_name;
        if (!strcmp(entry, ".") || !strcmp(entry, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry);
        struct stat st;
        NEED(lstat(name, &st) == 0);
        CHECK(list[i]->d_ino == st.st_ino);
        CHECK(list[i]->d_type == (st.st_mode & S_IFMT) >> 12);
        printf("%s %o", name, st.st_mode);
        if (!S_ISDIR(st.st_mode)) printf(" %ld %ld", (long)st.st_nlink, (long)st.st_size);
        if (S_ISREG(st.st_mode)) {
            int fd = open(name, O_RDONLY);
            NEED(read(fd, bytes, 20) >= 0);
            close(fd);
            for (char *c = bytes; *c; c++) if (*c == '\n') *c = '|';
        }
        if (S_ISLNK(st.st_mode)) NEED(readlink(name, bytes, 20) > 0);
        printf(" %s\n", bytes);
        if (S_ISDIR(st.st_mode)) tree(name);
    }
    free(list);
}
static int same(const char *path, struct stat before) {
    struct stat now;
    NEED(lstat(path, &now) == 0);
    return now.st_dev == before.st_dev && now.st_ino == before.st_ino;
}

static void files(void) {
    struct stat dir, file, now;
    NEED(stat("etc", &dir) == 0 && stat("etc/conf", &file) == 0);
    int early = open("etc/conf", O_RDONLY);
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, early, 0);
    NEED(private != (void *)-1 && private[0] == 'c');
    // Appending copies the file up; what is known of it stays.
    put("etc/conf", "more\n", O_APPEND);
    show("etc/conf");
    CHECK(same("etc/conf", file));
    NEED(fstat(early, &now) == 0);
    CHECK(now.st_ino == file.st_ino && now.st_dev == file.st_dev && now.st_size == file.st_size + 5);
    NEED(stat("etc", &now) == 0);
    CHECK(now.st_mtime == dir.st_mtime && now.st_mtim.tv_nsec == dir.st_mtim.tv_nsec);
    private[0] = 'X';
    show("etc/conf");
    char start[8] = "";
    SHOW(pread(early, start, 5, 0));
    printf("%s\n", start);
    // Mode, owner and times alone.
    NEED(stat("etc/other", &file) == 0);
    SHOW(chmod("etc/other", 0640));
    SHOW(chown("etc/other", 7, 8));
    NEED(stat("etc/other", &now) == 0);
    printf("%o %d %d\n", now.st_mode, now.st_uid, now.st_gid);
    CHECK(same("etc/other", file) && now.st_mtime == file.st_mtime && now.st_size == file.st_size);
    show("etc/other");
    // A shared mapping.
    int fd = open("etc/mapped", O_RDWR);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(map != (void *)-1);
    memcpy(map, "MAPPED", 6);
    SHOW(msync(map, 8192, MS_SYNC));
    show("etc/mapped");
    // Cut off, and made longer.
    SHOW(truncate("etc/long", 3));
    show("etc/long");
    put("etc/cut", "new\n", O_TRUNC);
    show("etc/cut");
    // The name goes, the open file stays.
    fd = open("etc/gone", O_RDONLY);
    SHOW(unlink("etc/gone"));
    char bytes[5] = "";
    SHOW(read(fd, bytes, 4));
    printf("%s\n", bytes);
    SHOW(open("etc/gone", O_RDONLY));
    put("etc/gone", "back\n", O_CREAT | O_EXCL);
    show("etc/gone");
    SHOW(open("etc/gone", O_CREAT | O_EXCL | O_WRONLY, 0600));
    // A file takes the place of another, as an installation does.
    put("etc/.new", "installed\n", O_CREAT);
    SHOW(rename("etc/.new", "etc/replaced"));
    show("etc/replaced");
    SHOW(rename("etc/moved", "etc/Moved"));
    show("etc/moved");
    show("etc/Moved");
    SHOW(rename2("etc/other", "etc/conf", RENAME_NOREPLACE));
    SHOW(rename2("etc/swap1", "etc/swap2", RENAME_EXCHANGE));
    show("etc/swap1");
    SHOW(unlink("etc/link"));
    SHOW(symlink("elsewhere", "etc/link"));
    fd = open("etc", O_TMPFILE | O_RDWR, 0600);
    SHOW(fd >= 0);
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    SHOW(linkat(AT_FDCWD, name, AT_FDCWD, "etc/named", AT_SYMLINK_FOLLOW));
    // Attributes.
    SHOW(setxattr("etc/attributes", "user.a", "1", 1, 0));
    char names[200];
    long len = listxattr("etc/attributes", names, sizeof names);
    SHOW(len);
    SHOW(getxattr("etc/attributes", "trusted.overlay.opaque", names, sizeof names));
    SHOW(mknod("etc/whiteout", S_IFCHR | 0600, makedev(0, 0)));
    SHOW(mkfifo("etc/fifo", 0600));
}

static void links(void) {
    struct stat now;
    SHOW(link("etc/conf", "etc/conf2"));
    SHOW(link("etc/untouched", "etc/untouched2"));
    CHECK(stat("etc/untouched", &now) == 0 && same("etc/untouched2", now));
}

static void directories(void) {
    SHOW(rmdir("tree"));
    SHOW(unlink("tree"));
    SHOW(mkdir("tree", 0755));
    // One that is emptied, and made again, has nothing of what was in it.
    NEED(unlink("tree/one/x") == 0);
    SHOW(rmdir("tree/one"));
    SHOW(mkdir("tree/one", 0700));
    put("tree/one/y", "y", O_CREAT);
    // Moved with what is in it, changed or not.
    put("tree/two/x", "changed\n", O_TRUNC);
    SHOW(rename("tree/two", "tree/2"));
    SHOW(mkdir("tree/two", 0755));
    SHOW(rename("tree/2/deep", "moved"));
    SHOW(rename("tree", "moved/in"));
    SHOW(rename("moved", "moved/in/x"));
    SHOW(mkdir("new", 0755));
    SHOW(rename("new", "tree"));
    SHOW(mkdir("new", 0755));
    SHOW(rename("moved/in", "new"));
    SHOW(rename("etc", "tree"));
    SHOW(rename("tree", "etc"));
    SHOW(rename2("etc", "many", RENAME_EXCHANGE));
    SHOW(rename2("many", "etc", RENAME_EXCHANGE));
    SHOW(rename("etc/conf", "tree"));
    SHOW(rename("tree", "etc/conf"));
    // Each name once, though files are copied up and come and go between the calls.
    DIR *dir = opendir("many");
    int seen[100] = {0}, n = 0;
    for (struct dirent *entry; (entry = readdir(dir)); n++) {
        if (entry->d_name[0] == '.') continue;
        int i = atoi(entry->d_name);
        seen[i]++;
        char name[40];
        snprintf(name, sizeof name, "many/%d", (i * 7 + 3) % 100);
        if (i % 3 == 0) put(name, "!", O_APPEND);
    }
    closedir(dir);
    SHOW(n);
    for (int i = 0; i < 100; i++) CHECK(seen[i] == 1);
    SHOW(unlink("many/5"));
    SHOW(rename("many/6", "many/7"));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    NEED(chdir(getenv("SCRATCH")) == 0);
    if (access("done", F_OK) != 0) {
        files();
        links();
        directories();
        put("done", "", O_CREAT);
    }
    tree(".");
    return 0;
}
