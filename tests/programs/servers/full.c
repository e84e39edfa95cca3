// A small file system is filled by each kind of operation: each says ENOSPC, as on Linux, what was there stays as it was, and what is
// given back can be used. Run by tests/tests/volumes.rs on ext4 (`disk`) and tmpfs, and with `charged` where attributes count
// against the bound of a tmpfs.
#include "t.h"
#include <dirent.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { PIECE = 64 * 1024 };
static char bytes[PIECE];

static int file(const char *name, int flags) {
    int fd = open(name, O_RDWR | O_CREAT | flags, 0600);
    NEED(fd >= 0);
    return fd;
}
// Takes all blocks but for so many bytes of them, and gives the file that has them.
static int fill(long left) {
    int fd = file("filler", 0);
    while (write(fd, bytes, PIECE) > 0) {}
    while (write(fd, bytes, 512) > 0) {}
    CHECK(errno == ENOSPC);
    struct stat st;
    NEED(fstat(fd, &st) == 0);
    if (left) NEED(ftruncate(fd, st.st_size - left) == 0);
    NEED(fsync(fd) == 0);
    return fd;
}
static void empty(int fd) {
    close(fd);
    NEED(unlink("filler") == 0);
    sync();
}
static const char *until(int (*step)(int)) {
    for (int i = 0; i < 400000; i++)
        if (step(i)) return t_errno(errno);
    return "no end";
}
static int one_dir(int i) { char name[300]; snprintf(name, sizeof name, "many/%0200d", i); return mkdir(name, 0700); }
static int one_link(int i) { char name[300]; snprintf(name, sizeof name, "many/%0200d", i); return link(i % 2 ? "kept" : "kept2", name); }
static int one_symlink(int i) { char name[300]; snprintf(name, sizeof name, "many/%0200d", i); bytes[1000] = 0; return symlink(bytes, name); }
static int one_attribute(int i) {
    char name[40];
    snprintf(name, sizeof name, "many/%d", i);
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    if (fd < 0) return -1;
    int result = 0;
    for (int n = 0; n < 3 && !result; n++) {
        snprintf(name, sizeof name, "user.%d", n);
        result = fsetxattr(fd, name, bytes, 1000, 0);
    }
    close(fd);
    return result;
}
static void clear_many(void) {
    DIR *dir = opendir("many");
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0) NEED(unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0);
    }
    closedir(dir);
    NEED(rmdir("many") == 0 && mkdir("many", 0700) == 0);
    sync();
}
static void kept(void) {
    char found[5] = "";
    int fd = open("kept", O_RDONLY);
    CHECK(read(fd, found, 4) == 4 && !strcmp(found, "kept"));
    close(fd);
}

int main(int argc, char **argv) {
    int is_disk = argc > 1 && !strcmp(argv[1], "disk");
    NEED(chdir(getenv("SCRATCH")) == 0);
    memset(bytes, 'x', sizeof bytes);
    int fd = file("kept", 0);
    NEED(write(fd, "kept", 4) == 4 && fsync(fd) == 0 && close(fd) == 0);
    close(file("kept2", 0));
    NEED(mkdir("many", 0700) == 0);
    // Bytes: at the end, within, by pwrite, by a longer file.
    int filler = fill(0);
    fd = file("kept", 0);
    NEED(ftruncate(fd, 4096) == 0 && ftruncate(fd, 4) == 0);
    SHOW(pwrite(filler, "y", 1, 0));
    SHOW(pwrite(fd, bytes, PIECE, 1 << 20));
    SHOW(ftruncate(fd, 1 << 22));
    SHOW(ftruncate(fd, 4));
    int new = file("new", 0);
    SHOW(write(new, "z", 1));
    struct stat st;
    NEED(fstat(new, &st) == 0);
    SHOW((int)st.st_size);
    // Reserving: all or nothing.
    SHOW(fallocate(new, 0, 0, 1 << 20));
    SHOW(fallocate(new, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
    NEED(ftruncate(filler, 0) == 0 && fsync(filler) == 0);
    SHOW(fallocate(new, 0, 0, 512 * 1024));
    empty(filler);
    filler = fill(0);
    // What was reserved can be written on a full file system.
    for (int i = 0; i < 8; i++) CHECK(pwrite(new, bytes, PIECE, i * PIECE) == PIECE);
    SHOW(fallocate(new, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PIECE));
    NEED(fsync(new) == 0);
    SHOW(fallocate(new, 0, 0, 2 << 20));
    kept();
    empty(filler);
    NEED(close(new) == 0 && unlink("new") == 0);
    // A page that a mapping writes to for the first time, where the file has a hole: SIGBUS, in a child.
    filler = fill(0);
    new = file("hole", 0);
    NEED(ftruncate(new, 1 << 20) == 0);
    pid_t pid = fork();
    if (!pid) {
        volatile char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, new, 0);
        if (map == (void *)-1) _exit(9);
        for (int i = 0; i < 1 << 20; i += 4096) map[i] = 1;
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    printf("mapped: %s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS ? "SIGBUS" : "other");
    NEED(close(new) == 0 && unlink("hole") == 0);
    kept();
    empty(filler);
    // Names and attributes.
    filler = is_disk ? fill(256 * 1024) : -1;
    if (is_disk) {
        printf("mkdir: %s\n", until(one_dir));
        clear_many();
        printf("link: %s\n", until(one_link));
        // A name that finds room or does not: the file is at one of the two.
        int moved = rename("kept2", "many/renamed");
        CHECK(moved == 0 || errno == ENOSPC);
        NEED(moved != 0 || rename("many/renamed", "kept2") == 0);
        clear_many();
        printf("symlink: %s\n", until(one_symlink));
        clear_many();
    }
    if (is_disk || argc > 1) {
        printf("xattr: %s\n", until(one_attribute));
        clear_many();
    }
    kept();
    if (is_disk) empty(filler);
    // All of it is back.
    fd = file("again", 0);
    for (int i = 0; i < 8; i++) CHECK(write(fd, bytes, PIECE) == PIECE);
    NEED(fsync(fd) == 0 && close(fd) == 0 && unlink("again") == 0 && unlink("kept2") == 0);
    return 0;
}
