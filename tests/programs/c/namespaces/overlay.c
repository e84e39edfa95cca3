// overlay by mount(2) and by fsopen(2) (Linux's Documentation/filesystems/overlayfs.rst): several layers, whiteouts, opaque directories, copies,
// and renameat2(2) with RENAME_WHITEOUT. In namespaces of its own.
// flags: -D_GNU_SOURCE
#include "t.h"
#include <dirent.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#define RENAME_WHITEOUT 4
#endif

static int rename2(const char *from, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}
static const char *kind(mode_t mode) {
    return S_ISDIR(mode) ? "directory" : S_ISLNK(mode) ? "link" : S_ISCHR(mode) ? "whiteout" : S_ISFIFO(mode) ? "pipe" : "file";
}
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
static void tree(const char *path) {
    struct dirent **list;
    int count = scandir(path, &list, NULL, by_name);
    printf("%s: %d\n", path, count);
    for (int i = 0; i < count; i++) {
        const char *entry = list[i]->d_name;
        char name[PATH_MAX], bytes[64] = "";
        struct stat st;
        if (!strcmp(entry, ".") || !strcmp(entry, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry);
        NEED(lstat(name, &st) == 0);
        if (S_ISREG(st.st_mode)) {
            int fd = open(name, O_RDONLY);
            NEED(fd >= 0 && read(fd, bytes, sizeof bytes - 1) >= 0);
            close(fd);
        }
        if (S_ISLNK(st.st_mode)) NEED(readlink(name, bytes, sizeof bytes - 1) > 0);
        if (S_ISCHR(st.st_mode)) CHECK(st.st_rdev == 0);
        printf("  %s %s %o %s\n", name, kind(st.st_mode), st.st_mode & 07777, bytes);
        if (S_ISDIR(st.st_mode)) tree(name);
        free(list[i]);
    }
    free(list);
}
static void options_of(const char *where) {
    static char text[1 << 16];
    int fd = open("/proc/self/mounts", O_RDONLY);
    long len = 0, part;
    while ((part = read(fd, text + len, sizeof text - 1 - len)) > 0) len += part;
    close(fd);
    text[len] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char source[64], point[PATH_MAX], type[64], options[1024];
        if (sscanf(line, "%63s %4095s %63s %1023s", source, point, type, options) != 4) continue;
        const char *name = strrchr(point, '/');
        if (!name || strcmp(name + 1, where)) continue;
        printf("%s on %s, %s", source, where, type);
        for (char *option = options, *next; option; option = next) {
            if ((next = strchr(option, ','))) *next++ = 0;
            if (strstr(option, "dir=") && strncmp(option, "redirect", 8)) printf(" %s", option);
            if (!strcmp(option, "ro") || !strcmp(option, "rw") || !strcmp(option, "userxattr")) printf(" %s", option);
        }
        puts("");
    }
}

static int over(const char *options) { return mount("source", "m", "overlay", 0, options); }

static void refused(void) {
    put("plain", "");
    SHOW(over(""));
    SHOW(over("lowerdir="));
    SHOW(over("lowerdir=low,upperdir=up"));
    SHOW(over("lowerdir=none"));
    SHOW(over("lowerdir=low,upperdir=up,workdir=none"));
    SHOW(over("lowerdir=low,upperdir=up,workdir=up/sub"));
    SHOW(over("lowerdir=low,upperdir=up,workdir=up"));
    SHOW(over("lowerdir=low,nonsense"));
    SHOW(over("lowerdir=low,redirect_dir=perhaps"));
    SHOW(over("lowerdir=low,upperdir=up,workdir=work,userxattr,redirect_dir=on"));
    SHOW(over("lowerdir=plain") == 0);
}

static void read_only(void) {
    SHOW(over("lowerdir=high:low,userxattr"));
    options_of("m");
    tree("m");
    SHOW(open("m/one", O_RDWR));
    SHOW(open("m/new", O_RDWR | O_CREAT, 0600));
    SHOW(unlink("m/one"));
    struct statfs st;
    NEED(statfs("m", &st) == 0);
    printf("magic %lx\n", (long)st.f_type);
    SHOW(mount(NULL, "m", NULL, MS_REMOUNT, "userxattr") == 0);
    SHOW(umount2("m", 0));
}

static void changes(void) {
    struct stat before, after, directory;
    NEED(stat("m/one", &before) == 0 && stat("m", &directory) == 0);
    CHECK(before.st_dev == directory.st_dev);
    int reader = open("m/one", O_RDONLY), mapped = open("m/mapped", O_RDONLY);
    const char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, mapped, 0);
    NEED(reader >= 0 && mapped >= 0 && page != MAP_FAILED);
    put("m/one", "changed above");
    NEED(stat("m/one", &after) == 0);
    CHECK(before.st_ino == after.st_ino);
    int fd = open("m/two", O_WRONLY | O_APPEND);
    NEED(fd >= 0 && write(fd, " and more", 9) == 9 && close(fd) == 0);
    SHOW(chmod("m/three", 0600));
    SHOW(truncate("m/long", 4));
    SHOW(unlink("m/four"));
    SHOW(unlink("m/four"));
    SHOW(open("m/four", O_RDONLY));
    put("m/four", "again");
    SHOW(unlink("m/own"));
    put("m/own", "made above");
    SHOW(unlink("m/own"));
    SHOW(rmdir("m/both"));
    SHOW(unlink("m/both/a") | unlink("m/both/b") | unlink("m/both/same"));
    SHOW(rmdir("m/both"));
    SHOW(mkdir("m/both", 0711));
    put("m/both/new", "alone");
    SHOW(rename2("m/five", "m/six", 0));
    SHOW(rename2("m/one", "m/two", RENAME_EXCHANGE));
    SHOW(rename2("m/one", "m/two", RENAME_NOREPLACE));
    SHOW(rename2("m/one", "m/two", RENAME_WHITEOUT));
    SHOW(rename2("m/deep", "m/moved", 0));
    SHOW(mkdir("m/pure", 0755) | rename2("m/pure", "m/pure2", 0));
    SHOW(symlink("m/one", "m/link") | link("m/six", "m/seven"));
    SHOW(mkfifo("m/pipe", 0600));
    SHOW(mkdir("m/deep/er/new", 0755));
    SHOW(setxattr("m/three", "user.note", "x", 1, 0));
    SHOW(setxattr("m/three", "user.overlay.opaque", "y", 1, 0) == 0);
    char value[16];
    SHOW(getxattr("m/three", "user.note", value, sizeof value));
    SHOW(getxattr("m/low-note", "user.kept", value, sizeof value));
    NEED(chmod("m/low-note", 0640) == 0);
    SHOW(getxattr("m/low-note", "user.kept", value, sizeof value));
    SHOW(getxattr("m/both", "user.overlay.opaque", value, sizeof value));
    char bytes[32] = "";
    SHOW(read(reader, bytes, sizeof bytes - 1));
    puts(bytes);
    printf("mapped: %.5s\n", page);
    close(reader);
    close(mapped);
    munmap((void *)page, 4096);
}

static void step_by_step(void) {
    int fs = syscall(SYS_fsopen, "overlay", 0);
    NEED(fs >= 0);
    SHOW(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir", "up:high:low", 0));
    SHOW(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0));
    SHOW(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nonsense", "x", 0));
    SHOW(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", "steps", 0));
    SHOW(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int made = syscall(SYS_fsmount, fs, 0, 0);
    NEED(made >= 0);
    SHOW(syscall(SYS_move_mount, made, "", AT_FDCWD, "m", 4));
    close(made);
    close(fs);
    options_of("m");
    tree("m");
    SHOW(umount2("m", 0));
}

static void whiteouts(void) {
    put("flat-a", "a");
    SHOW(rename2("flat-a", "flat-b", RENAME_WHITEOUT));
    struct stat st;
    NEED(lstat("flat-a", &st) == 0);
    printf("%s %o %d\n", kind(st.st_mode), st.st_mode & 07777, (int)st.st_rdev);
    SHOW(rename2("flat-b", "flat-a", RENAME_WHITEOUT | RENAME_NOREPLACE));
    SHOW(rename2("flat-b", "flat-a", RENAME_WHITEOUT | RENAME_EXCHANGE));
    SHOW(mknod("flat-c", S_IFCHR | 0600, makedev(0, 0)));
    SHOW(mkdir("flat-d", 0755) | rename2("flat-d", "flat-e", RENAME_WHITEOUT));
    SHOW(unlink("flat-a") | unlink("flat-b") | unlink("flat-c") | unlink("flat-d") | rmdir("flat-e"));
}

int main(void) {
    enter_scratch();
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        NEED(unshare(CLONE_NEWNS) == 0);
    else {
        char map[64];
        snprintf(map, sizeof map, "0 %d 1\n", uid);
        put("/proc/self/uid_map", map);
        put("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %d 1\n", gid);
        put("/proc/self/gid_map", map);
    }
    NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    umask(022);
    SHOW(mkdir("t", 0755) | mount("t", "t", "tmpfs", 0, NULL));
    NEED(chdir("t") == 0);
    SHOW(mkdir("low", 0755) | mkdir("high", 0755) | mkdir("up", 0755) | mkdir("up/sub", 0755) | mkdir("work", 0700) | mkdir("m", 0755));
    SHOW(rmdir("up/sub") | mkdir("low/both", 0755) | mkdir("high/both", 0750) | mkdir("low/hidden", 0755) | mkdir("low/opaque", 0755));
    SHOW(mkdir("high/opaque", 0755) | setxattr("high/opaque", "user.overlay.opaque", "y", 1, 0));
    SHOW(mkdir("low/deep", 0755) | mkdir("low/deep/er", 0755) | mkdir("low/file-above", 0755));
    put("low/one", "one");
    put("low/two", "two");
    put("low/three", "three");
    put("low/four", "four");
    put("low/five", "five");
    put("low/long", "a longer text");
    put("low/mapped", "bytes");
    put("low/low-note", "with an attribute");
    put("low/gone", "gone");
    put("low/both/a", "a of low");
    put("low/both/same", "of low");
    put("high/both/same", "of high");
    put("high/both/b", "b of high");
    put("low/opaque/hidden", "hidden");
    put("high/opaque/seen", "seen");
    put("low/deep/er/est", "deepest");
    put("high/file-above", "a file");
    put("high/own", "of high alone");
    NEED(setxattr("low/low-note", "user.kept", "yes", 3, 0) == 0 && symlink("two", "low/to-two") == 0);
    SHOW(mknod("high/gone", S_IFCHR, 0) | mknod("high/hidden", S_IFCHR, 0));
    whiteouts();
    refused();
    read_only();
    SHOW(over("lowerdir=high:low,upperdir=up,workdir=work,userxattr"));
    options_of("m");
    tree("m");
    changes();
    tree("m");
    tree("up");
    SHOW(umount2("m", 0));
    step_by_step();
    // What was changed is there again.
    SHOW(over("lowerdir=high:low,upperdir=up,workdir=work,userxattr"));
    tree("m");
    SHOW(umount2("m", 0));
    DONE();
}
