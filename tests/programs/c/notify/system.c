// What root sees of inotify(7): limits in /proc/sys/fs/inotify, queues that overflow, file systems that are unmounted, and files that may
// not be read.
// linux: no
// stdout-has: done
// machines: all
#include "notify.h"
#include <sys/mount.h>

static long setting(const char *name) {
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/sys/fs/inotify/%s", name);
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atol(text);
}

static void set(const char *name, long value) {
    char path[64], text[32];
    snprintf(path, sizeof path, "/proc/sys/fs/inotify/%s", name);
    snprintf(text, sizeof text, "%ld\n", value);
    write_file(path, text);
    CHECK(setting(name) == value);
}

static void limits(void) {
    CHECK(setting("max_queued_events") == 16384 && setting("max_user_instances") == 128);
    CHECK(setting("max_user_watches") >= 8192);
    long before = setting("max_user_watches");
    int fd = new_instance();
    set("max_user_watches", 2);
    close(make_file("a")), close(make_file("b")), close(make_file("c"));
    CHECK(inotify_add_watch(fd, "a", IN_OPEN) == 1 && inotify_add_watch(fd, "b", IN_OPEN) == 2);
    CHECK(inotify_add_watch(fd, "c", IN_OPEN) == -1 && errno == ENOSPC);
    CHECK(inotify_add_watch(fd, "a", IN_CLOSE) == 1);
    CHECK(inotify_rm_watch(fd, 1) == 0 && inotify_add_watch(fd, "c", IN_OPEN) == 3);
    close(fd);
    // The watches of a closed instance don't count any more.
    fd = new_instance();
    CHECK(inotify_add_watch(fd, "a", IN_OPEN) == 1 && inotify_add_watch(fd, "b", IN_OPEN) == 2);
    close(fd);
    set("max_user_watches", before);
    set("max_user_instances", 1);
    fd = new_instance();
    CHECK(inotify_init1(0) == -1 && errno == EMFILE);
    close(fd);
    set("max_user_instances", 128);
    int file = open("/proc/sys/fs/inotify/max_user_instances", O_WRONLY);
    CHECK(write(file, "-1", 2) == -1 && errno == EINVAL);
    close(file);
}

static void overflow(void) {
    set("max_queued_events", 4);
    int fd = new_instance();
    CHECK(inotify_add_watch(fd, "a", IN_OPEN | IN_CLOSE) == 1);
    for (int i = 0; i < 10; i++)
        close(open("a", O_RDONLY));
    int waiting = 0;
    CHECK(ioctl(fd, FIONREAD, &waiting) == 0 && waiting == 5 * 16);
    show_events("overflow", fd);
    close(open("a", O_RDONLY));
    show_events("after it", fd);
    close(fd);
    set("max_queued_events", 16384);
}

static void unmounting(void) {
    NEED(mkdir("mount", 0755) == 0 && mount("tmpfs", "mount", "tmpfs", 0, "") == 0);
    close(make_file("mount/file"));
    int fd = new_instance();
    CHECK(inotify_add_watch(fd, "mount/file", IN_OPEN) == 1 && inotify_add_watch(fd, "a", IN_OPEN) == 2);
    NEED(mkdir("shown", 0755) == 0 && mount("mount", "shown", "", MS_BIND, "") == 0);
    CHECK(umount("mount") == 0);
    show_events("shown elsewhere", fd);
    CHECK(umount("shown") == 0);
    show_events("unmounted", fd);
    CHECK(inotify_rm_watch(fd, 1) == -1 && errno == EINVAL);
    close(fd);
}

static void rights(void) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        NEED(chmod("b", 0200) == 0 && chmod(".", 0755) == 0 && setuid(65534) == 0);
        int fd = new_instance();
        CHECK(inotify_add_watch(fd, "b", IN_OPEN) == -1 && errno == EACCES);
        CHECK(inotify_add_watch(fd, "a", IN_OPEN) == 1);
        exit(t_failures != 0);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

// Many watches of many files, and none of the memory is kept.
static void many(void) {
    enum { FILES = 2000 };
    NEED(mkdir("many", 0755) == 0 && chdir("many") == 0);
    for (int round = 0; round < 3; round++) {
        int fd = new_instance();
        char name[16];
        for (int i = 0; i < FILES; i++) {
            snprintf(name, sizeof name, "%d", i);
            close(make_file(name));
            CHECK(inotify_add_watch(fd, name, IN_DELETE_SELF) == i + 1);
        }
        for (int i = 0; i < FILES; i++) {
            snprintf(name, sizeof name, "%d", i);
            NEED(unlink(name) == 0);
        }
        int waiting = 0;
        CHECK(ioctl(fd, FIONREAD, &waiting) == 0 && waiting == 2 * 16 * FILES);
        close(fd);
    }
}

int main(void) {
    enter_scratch();
    limits();
    overflow();
    unmounting();
    rights();
    many();
    if (!t_failures)
        printf("done\n");
    DONE();
}
