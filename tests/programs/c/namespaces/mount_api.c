// fsopen, fsconfig, fsmount, fspick, open_tree, move_mount and mount_setattr: mounting step by step, in a namespace of one's own.
#include "t.h"
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/statvfs.h>

int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
enum { NO = -1, RECURSIVE = 0x8000 };

static int fsopen_(const char *kind, unsigned flags) { return syscall(SYS_fsopen, kind, flags); }
static int fsconfig_(int fd, unsigned command, const char *key, const char *value, int aux) {
    return syscall(SYS_fsconfig, fd, command, key, value, aux);
}
static int fsmount_(int fd, unsigned flags, unsigned attributes) { return syscall(SYS_fsmount, fd, flags, attributes); }
static int move_(int from, const char *path, int to, const char *to_path, unsigned flags) {
    return syscall(SYS_move_mount, from, path, to, to_path, flags);
}
static int tree(int directory, const char *path, unsigned flags) { return syscall(SYS_open_tree, directory, path, flags); }
static int pick(int directory, const char *path, unsigned flags) { return syscall(SYS_fspick, directory, path, flags); }
static int attributes(const char *path, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation, size_t size) {
    struct mount_attr attr = {set, clear, propagation, 0};
    return syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attr, size);
}
static void flags_of(const char *path) {
    struct statvfs st;
    NEED(statvfs(path, &st) == 0);
    printf("%s:%s%s%s%s%s\n", path, st.f_flag & ST_RDONLY ? " ro" : "", st.f_flag & ST_NOSUID ? " nosuid" : "",
           st.f_flag & ST_NODEV ? " nodev" : "", st.f_flag & ST_NOEXEC ? " noexec" : "", st.f_flag & ST_NOATIME ? " noatime" : "");
}

int main(void) {
    enter_scratch();
    NEED(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, 0x44000, NULL) == 0);
    NEED(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0 && mkdir("c", 0755) == 0);
    SHOW(fsopen_("no such", 0));
    SHOW(fsopen_("tmpfs", 2));
    SHOW(fsopen_(NULL, 0));
    int fs = fsopen_("tmpfs", FSOPEN_CLOEXEC);
    SHOW(fs >= 0 && fcntl(fs, F_GETFD) == FD_CLOEXEC);
    SHOW(fsmount_(fs, 0, 0));
    SHOW(fsconfig_(NO, FSCONFIG_SET_FLAG, "ro", NULL, 0));
    SHOW(fsconfig_(0, FSCONFIG_SET_FLAG, "ro", NULL, 0));
    SHOW(fsconfig_(fs, 99, "ro", NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_FLAG, NULL, NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_FLAG, "ro", "1", 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_FLAG, "ro", NULL, 1));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "size", NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "size", "1m", 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "mode", "0711", 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "source", "made", 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "source", "again", 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "nonsense", "1", 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "size", "many", 0));
    SHOW(fsconfig_(fs, FSCONFIG_CMD_CREATE, "key", NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0));
    SHOW(fsmount_(fs, 2, 0));
    SHOW(fsmount_(fs, 0, 0x40000000));
    SHOW(fsmount_(fs, 0, MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME));
    SHOW(fsmount_(0, 0, 0));
    int made = fsmount_(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    SHOW(made >= 0);
    SHOW(fsmount_(fs, 0, 0));
    // It can be used before it is anywhere.
    int file = openat(made, "file", O_CREAT | O_WRONLY, 0644);
    SHOW(write(file, "early", 5));
    close(file);
    SHOW(move_(made, "", AT_FDCWD, "none", MOVE_MOUNT_F_EMPTY_PATH));
    SHOW(move_(made, "", AT_FDCWD, "a", 0));
    SHOW(move_(made, "", AT_FDCWD, "a", 0x8000));
    SHOW(move_(made, "", AT_FDCWD, "a", MOVE_MOUNT_F_EMPTY_PATH));
    show_file("a/file");
    flags_of("a");
    struct stat st;
    NEED(stat("a", &st) == 0);
    printf("mode %o\n", st.st_mode & 07777);
    struct statvfs usage;
    NEED(statvfs("a", &usage) == 0);
    printf("%llu bytes\n", (unsigned long long)(usage.f_blocks * usage.f_frsize));
    // Moved once more.
    SHOW(move_(made, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH));
    SHOW(access("a/file", F_OK));
    show_file("b/file");
    SHOW(move_(AT_FDCWD, "b", AT_FDCWD, "a", 0));
    SHOW(move_(AT_FDCWD, "b", AT_FDCWD, "c", 0));
    SHOW(move_(AT_FDCWD, "a", AT_FDCWD, "a/file", 0));
    close(made);
    close(fs);
    // Copies.
    NEED(mkdir("a/sub", 0755) == 0 && mount("none", "a/sub", "tmpfs", 0, NULL) == 0);
    write_file("a/sub/deep", "deep");
    SHOW(tree(AT_FDCWD, "a", RECURSIVE));
    SHOW(tree(AT_FDCWD, "a", 0x40000000));
    SHOW(tree(AT_FDCWD, "none", OPEN_TREE_CLONE));
    int copy = tree(AT_FDCWD, "a", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    SHOW(copy >= 0);
    SHOW(faccessat(copy, "sub/deep", F_OK, 0));
    close(copy);
    copy = tree(AT_FDCWD, "a", OPEN_TREE_CLONE | RECURSIVE);
    SHOW(faccessat(copy, "sub/deep", F_OK, 0));
    SHOW(move_(copy, "", AT_FDCWD, "c", MOVE_MOUNT_F_EMPTY_PATH));
    show_file("c/sub/deep");
    close(copy);
    show_file("c/sub/deep");
    copy = tree(AT_FDCWD, "a/file", OPEN_TREE_CLONE);
    write_file("b/over", "under");
    SHOW(move_(copy, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH));
    SHOW(move_(copy, "", AT_FDCWD, "b/over", MOVE_MOUNT_F_EMPTY_PATH));
    show_file("b/over");
    SHOW(umount2("b/over", 0));
    show_file("b/over");
    close(copy);
    int plain = tree(AT_FDCWD, "a", 0);
    SHOW(faccessat(plain, "file", F_OK, 0));
    close(plain);
    // Attributes.
    SHOW(attributes("c", 0, MOUNT_ATTR_RDONLY, 0, 0, 8));
    SHOW(attributes("c", 1, MOUNT_ATTR_RDONLY, 0, 0, 32));
    SHOW(attributes("c", 0, 0x40000000, 0, 0, 32));
    SHOW(attributes("c", 0, MOUNT_ATTR_NOATIME, 0, 0, 32));
    SHOW(attributes("c", 0, 0, MOUNT_ATTR_NOATIME, 0, 32));
    SHOW(attributes("c", 0, 0, 0, 0x44000, 32));
    SHOW(attributes("none", 0, MOUNT_ATTR_RDONLY, 0, 0, 32));
    SHOW(attributes("b", 0, MOUNT_ATTR_RDONLY, 0, 0, 32));
    SHOW(attributes("b", 0, 0, 0, 0, 32));
    SHOW(attributes("c", 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME | MOUNT_ATTR_NODEV, 0, 32));
    flags_of("c");
    flags_of("c/sub");
    SHOW(open("c/x", O_CREAT | O_WRONLY, 0600));
    SHOW(attributes("c", RECURSIVE, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, 1 << 18, 32));
    flags_of("c");
    flags_of("c/sub");
    int busy = open("c/x", O_CREAT | O_WRONLY, 0600);
    SHOW(busy >= 0);
    SHOW(attributes("c", RECURSIVE, MOUNT_ATTR_RDONLY, 0, 0, 32));
    flags_of("c/sub");
    close(busy);
    // Changes of a file system.
    SHOW(pick(AT_FDCWD, "none", 0));
    SHOW(pick(AT_FDCWD, "b", 0));
    SHOW(pick(AT_FDCWD, "a", 0x100));
    fs = pick(AT_FDCWD, "a", FSPICK_CLOEXEC);
    SHOW(fs >= 0);
    SHOW(fsconfig_(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
    SHOW(open("a/x", O_CREAT | O_WRONLY, 0600));
    SHOW(open("c/y", O_CREAT | O_WRONLY, 0600));
    SHOW(fsconfig_(fs, FSCONFIG_SET_FLAG, "rw", NULL, 0));
    SHOW(fsconfig_(fs, FSCONFIG_SET_STRING, "size", "2m", 0));
    SHOW(fsconfig_(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
    SHOW(open("a/x", O_CREAT | O_WRONLY, 0600) >= 0);
    NEED(statvfs("a", &usage) == 0);
    printf("%llu bytes\n", (unsigned long long)(usage.f_blocks * usage.f_frsize));
    // What is cut off is free again, wherever the cut is.
    static char bytes[40 * 4096];
    unsigned long free_before;
    NEED(statvfs("a", &usage) == 0);
    free_before = usage.f_bfree;
    file = open("a/z", O_CREAT | O_RDWR, 0600);
    NEED(file >= 0 && write(file, bytes, sizeof bytes) == sizeof bytes);
    for (int pages = 37; pages >= 0; pages -= 7) {
        NEED(ftruncate(file, pages * 4096) == 0 && statvfs("a", &usage) == 0);
        CHECK(free_before - usage.f_bfree == (unsigned long)pages);
    }
    // Links that are not followed, and ways to other mounts.
    NEED(symlink("/", "a/up") == 0 && symlink("x", "a/to_x") == 0 && access("a/to_x", F_OK) == 0);
    struct open_how how = {.flags = O_PATH, .resolve = RESOLVE_NO_XDEV};
    SHOW(syscall(SYS_openat2, AT_FDCWD, "a", &how, sizeof how));
    SHOW(syscall(SYS_openat2, AT_FDCWD, "b/..", &how, sizeof how) >= 0);
    int inside = open("a", O_PATH | O_DIRECTORY);
    SHOW(syscall(SYS_openat2, inside, "up", &how, sizeof how));
    SHOW(syscall(SYS_openat2, inside, "..", &how, sizeof how));
    SHOW(syscall(SYS_openat2, inside, "to_x", &how, sizeof how) >= 0);
    SHOW(syscall(SYS_openat2, inside, "/", &how, sizeof how) >= 0);
    close(inside);
    SHOW(attributes("a", 0, MOUNT_ATTR_NOSYMFOLLOW, 0, 0, 32));
    NEED(statvfs("a", &usage) == 0);
    SHOW((usage.f_flag & 0x2000) != 0);
    SHOW(open("a/to_x", O_RDONLY));
    SHOW(access("a/up/tmp", F_OK));
    SHOW(access("a/x", F_OK));
    char target[8];
    SHOW(readlink("a/to_x", target, sizeof target));
    SHOW(mount(NULL, "a", NULL, 32 | 4096, NULL));
    SHOW(access("a/to_x", F_OK));
    SHOW(mount(NULL, "a", NULL, 32 | 4096 | 256, NULL));
    SHOW(access("a/to_x", F_OK));
    // Without rights.
    NEED(setuid(1000) == 0);
    SHOW(fsopen_("tmpfs", 0));
    SHOW(pick(AT_FDCWD, "a", 0));
    SHOW(tree(AT_FDCWD, ".", OPEN_TREE_CLONE));
    SHOW(move_(AT_FDCWD, "a", AT_FDCWD, "b", 0));
    SHOW(attributes("a", 0, MOUNT_ATTR_RDONLY, 0, 0, 32));
    DONE();
}
