// fanotify(7): instances, marks of files, directories, mounts and file systems, what is ignored, events with descriptors and with
// identities of files, and the errors of fanotify_init(2) and fanotify_mark(2).
// linux: no
// stdout-has: done
// machines: all
#include "notify.h"
#include <linux/capability.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/statfs.h>

static int instance(unsigned flags) {
    int fd = fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK | flags, O_RDONLY | O_CLOEXEC);
    NEED(fd >= 0);
    return fd;
}

static bool fails(int result, int error) {
    if (result == -1 && errno == error)
        return true;
    printf("%d %s instead of %s\n", result, t_errno(errno), t_errno(error));
    return false;
}

// Reads one event of this process: its mask, with the file it is of as `path` says. 0: none.
static uint64_t next(int fd, const char *path) {
    struct fanotify_event_metadata event;
    ssize_t count = read(fd, &event, sizeof event);
    if (count == -1 && errno == EAGAIN)
        return 0;
    CHECK(count == sizeof event && event.event_len == sizeof event && event.metadata_len == sizeof event);
    CHECK(event.vers == FANOTIFY_METADATA_VERSION && event.pid == getpid() && event.fd >= 0);
    struct stat wanted, found;
    CHECK(stat(path, &wanted) == 0 && fstat(event.fd, &found) == 0);
    CHECK(wanted.st_ino == found.st_ino && wanted.st_dev == found.st_dev);
    CHECK(fcntl(event.fd, F_GETFD) == FD_CLOEXEC);
    // What is done with it is not reported.
    char byte;
    if (S_ISREG(found.st_mode))
        CHECK(read(event.fd, &byte, 1) >= 0);
    CHECK(close(event.fd) == 0);
    return event.mask;
}

static void touch(const char *path) { close(open(path, O_RDONLY)); }

static void put(const char *path) {
    int fd = open(path, O_WRONLY);
    NEED(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void errors(void) {
    CHECK(fails(fanotify_init(0x80000000, O_RDONLY), EINVAL));
    CHECK(fails(fanotify_init(FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT, O_RDONLY), EINVAL));
    CHECK(fails(fanotify_init(FAN_CLASS_CONTENT | FAN_REPORT_FID, O_RDONLY), EINVAL));
    CHECK(fails(fanotify_init(0, O_ACCMODE), EINVAL));
    CHECK(fails(fanotify_init(0, O_RDONLY | O_CREAT), EINVAL));
    int plain = fanotify_init(0, O_RDWR | O_LARGEFILE);
    CHECK(fcntl(plain, F_GETFD) == 0 && (fcntl(plain, F_GETFL) & ~O_LARGEFILE) == O_RDWR);
    CHECK(fails(write(plain, "x", 1), EINVAL));
    close(plain);

    int fd = instance(0);
    NEED(mkdir("d", 0755) == 0 && symlink("f", "link") == 0);
    close(make_file("f"));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN | 1ull << 40, AT_FDCWD, "f"), EINVAL));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, 0, AT_FDCWD, "f"), EINVAL));
    CHECK(fails(fanotify_mark(fd, 0, FAN_OPEN, AT_FDCWD, "f"), EINVAL));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "f"), EINVAL));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_FLUSH | FAN_MARK_ONLYDIR, 0, AT_FDCWD, "d"), EINVAL));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, 0x80000000, AT_FDCWD, "f"), EINVAL));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD | 0x80000000, FAN_OPEN, AT_FDCWD, "f"), EINVAL));
    // A group that only notifies has no say.
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "f"), EINVAL));
    // Names of files need FAN_REPORT_FID.
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "d"), EINVAL));
    CHECK(fails(fanotify_mark(99, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f"), EBADF));
    CHECK(fails(fanotify_mark(0, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f"), EINVAL));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "none"), ENOENT));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN, AT_FDCWD, "f"), ENOTDIR));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, 99, NULL), EBADF));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, (char *)8), EFAULT));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "f"), ENOENT));
    CHECK(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_DONT_FOLLOW, FAN_OPEN, AT_FDCWD, "link") == 0);
    CHECK(fails(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, "f"), ENOENT));
    // The calls of the one are none of the other's.
    CHECK(fails(inotify_add_watch(fd, "f", IN_OPEN), EINVAL));
    int watches = new_instance();
    CHECK(fails(fanotify_mark(watches, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f"), EINVAL));
    close(watches);
    char byte;
    CHECK(fails(read(fd, &byte, 1), EAGAIN));
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f") == 0);
    touch("f");
    CHECK(fails(read(fd, &byte, 1), EINVAL));
    int waiting = 0;
    CHECK(ioctl(fd, FIONREAD, &waiting) == 0 && waiting == sizeof(struct fanotify_event_metadata));
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
    CHECK(next(fd, "f") == FAN_OPEN);
    CHECK(poll(&p, 1, 0) == 0);
    close(fd);
}

static void files(void) {
    int fd = instance(FAN_CLASS_NOTIF);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN | FAN_CLOSE, AT_FDCWD, "f") == 0);
    touch("f");
    // What one process does with one file is one event.
    CHECK(next(fd, "f") == (FAN_OPEN | FAN_CLOSE_NOWRITE) && next(fd, "f") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "f") == 0);
    put("f");
    CHECK(next(fd, "f") == (FAN_OPEN | FAN_MODIFY | FAN_CLOSE_WRITE) && next(fd, "f") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_OPEN | FAN_CLOSE, AT_FDCWD, "f") == 0);
    put("f");
    CHECK(next(fd, "f") == FAN_MODIFY && next(fd, "f") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_MODIFY, AT_FDCWD, "f") == 0);
    CHECK(fails(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_MODIFY, AT_FDCWD, "f"), ENOENT));
    put("f");
    CHECK(next(fd, "f") == 0);
    // Another process's events are its own; a descriptor is marked by itself.
    int file = open("f", O_RDONLY);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_ACCESS, file, NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        _exit(read(file, &byte, 1) == 1 ? 0 : 1);
    }
    int status;
    struct fanotify_event_metadata event;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(read(fd, &event, sizeof event) == sizeof event && event.mask == FAN_ACCESS && event.pid == child);
    close(event.fd);
    close(file);
    // A program that is executed.
    CHECK(fanotify_mark(fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL) == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_EXEC, AT_FDCWD, "/proc/self/exe") == 0);
    touch("/proc/self/exe");
    CHECK(next(fd, "/proc/self/exe") == 0);
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "again", "end", NULL);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(read(fd, &event, sizeof event) == sizeof event && event.mask == FAN_OPEN_EXEC);
    close(event.fd);
    close(fd);
}

static void directories(void) {
    int fd = instance(0);
    close(make_file("d/child"));
    NEED(mkdir("d/below", 0755) == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "d") == 0);
    touch("d"), touch("d/child");
    CHECK(next(fd, "d") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_ONDIR, AT_FDCWD, "d") == 0);
    touch("d"), touch("d/child");
    CHECK(next(fd, "d") == FAN_OPEN && next(fd, "d") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_EVENT_ON_CHILD, AT_FDCWD, "d") == 0);
    touch("d"), touch("d/child"), touch("d/below");
    CHECK(next(fd, "d") == FAN_OPEN && next(fd, "d/child") == FAN_OPEN && next(fd, "d/below") == FAN_OPEN);
    CHECK(fanotify_mark(fd, FAN_MARK_REMOVE, FAN_ONDIR, AT_FDCWD, "d") == 0);
    touch("d"), touch("d/child"), touch("d/below");
    CHECK(next(fd, "d/child") == FAN_OPEN && next(fd, "d") == 0);
    // What is ignored, for good or until the file is modified.
    unsigned ignore = FAN_MARK_ADD | FAN_MARK_IGNORED_MASK;
    CHECK(fanotify_mark(fd, ignore, FAN_OPEN, AT_FDCWD, "d/child") == 0);
    touch("d/child");
    CHECK(next(fd, "d/child") == 0);
    put("d/child");
    CHECK(next(fd, "d/child") == 0);
    touch("d/child");
    CHECK(next(fd, "d/child") == FAN_OPEN);
    CHECK(fanotify_mark(fd, ignore | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, AT_FDCWD, "d/child") == 0);
    put("d/child"), touch("d/child");
    CHECK(next(fd, "d/child") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_REMOVE | FAN_MARK_IGNORED_MASK, FAN_OPEN, AT_FDCWD, "d/child") == 0);
    touch("d/child");
    CHECK(next(fd, "d/child") == FAN_OPEN);
    close(fd);
}

static void mounts(void) {
    NEED(mkdir("m", 0755) == 0 && mkdir("n", 0755) == 0 && mount("none", "m", "tmpfs", 0, NULL) == 0);
    NEED(mount("m", "n", NULL, MS_BIND, NULL) == 0);
    close(make_file("m/f"));
    int fd = instance(0), whole = instance(FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, "m") == 0);
    CHECK(fanotify_mark(whole, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "m/f") == 0);
    touch("m/f");
    CHECK(next(fd, "m/f") == FAN_OPEN && next(whole, "m/f") == FAN_OPEN);
    // Another mount of the file system.
    touch("n/f");
    CHECK(next(fd, "m/f") == 0 && next(whole, "m/f") == FAN_OPEN);
    touch("d/child");
    CHECK(next(fd, "d/child") == 0 && next(whole, "d/child") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, FAN_OPEN, AT_FDCWD, "m/f") == 0);
    touch("m/f");
    CHECK(next(fd, "m/f") == 0 && next(whole, "m/f") == FAN_OPEN);
    CHECK(fanotify_mark(whole, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, "m") == 0);
    CHECK(fails(fanotify_mark(fd, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "m"), ENOENT));
    touch("m/f");
    CHECK(next(whole, "m/f") == FAN_OPEN);
    CHECK(fanotify_mark(whole, FAN_MARK_FLUSH | FAN_MARK_FILESYSTEM, 0, AT_FDCWD, "m") == 0);
    touch("m/f");
    CHECK(next(whole, "m/f") == 0);
    // An event keeps its mount.
    CHECK(fanotify_mark(whole, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "m/f") == 0);
    touch("m/f");
    CHECK(umount("n") == 0 && fails(umount("m"), EBUSY));
    CHECK(next(whole, "m/f") == FAN_OPEN && umount("m") == 0);
    close(fd), close(whole);
}

struct identified {
    struct fanotify_event_metadata event;
    struct fanotify_event_info_fid info;
    unsigned char room[128];
};

// Reads one event, and whether it is of the file with this handle.
static uint64_t next_of(int fd, struct file_handle *handle) {
    struct identified read_;
    size_t one = offsetof(struct identified, info.handle) + sizeof *handle + handle->handle_bytes;
    ssize_t count = read(fd, &read_, (one + 3) / 4 * 4);
    if (count == -1 && errno == EAGAIN)
        return 0;
    CHECK(count == read_.event.event_len && read_.event.fd == FAN_NOFD && read_.event.pid == getpid());
    CHECK(read_.info.hdr.info_type == FAN_EVENT_INFO_TYPE_FID);
    CHECK(read_.info.hdr.len == read_.event.event_len - read_.event.metadata_len);
    struct file_handle *found = (struct file_handle *)read_.info.handle;
    CHECK(found->handle_bytes == handle->handle_bytes && found->handle_type == handle->handle_type);
    CHECK(memcmp(found->f_handle, handle->f_handle, handle->handle_bytes) == 0);
    struct statfs whole;
    CHECK(statfs(".", &whole) == 0 && memcmp(&whole.f_fsid, &read_.info.fsid, sizeof whole.f_fsid) == 0);
    return read_.event.mask;
}

static struct file_handle *handle_of(const char *path) {
    int mount_id;
    struct file_handle *handle = calloc(1, sizeof *handle + MAX_HANDLE_SZ);
    handle->handle_bytes = MAX_HANDLE_SZ;
    NEED(name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0) == 0);
    return handle;
}

static void identities(void) {
    NEED(mkdir("i", 0755) == 0 && mount("none", "i", "tmpfs", 0, NULL) == 0 && chdir("i") == 0);
    NEED(mkdir("d", 0755) == 0);
    close(make_file("f"));
    int fd = instance(FAN_REPORT_FID);
    struct file_handle *file = handle_of("f"), *directory = handle_of("d");
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CREATE, AT_FDCWD, "d"), EINVAL));
    uint64_t names = FAN_CREATE | FAN_DELETE | FAN_MOVE;
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN | FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF, AT_FDCWD, "f") == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, names | FAN_ONDIR, AT_FDCWD, "d") == 0);
    touch("f");
    CHECK(next_of(fd, file) == FAN_OPEN && next_of(fd, file) == 0);
    CHECK(chmod("f", 0600) == 0 && next_of(fd, file) == FAN_ATTRIB);
    CHECK(rename("f", "d/f") == 0);
    CHECK(next_of(fd, directory) == FAN_MOVED_TO && next_of(fd, file) == FAN_MOVE_SELF && next_of(fd, file) == 0);
    CHECK(mkdir("d/below", 0755) == 0 && next_of(fd, directory) == (FAN_CREATE | FAN_ONDIR));
    CHECK(rmdir("d/below") == 0 && next_of(fd, directory) == (FAN_DELETE | FAN_ONDIR));
    CHECK(unlink("d/f") == 0);
    uint64_t mask = next_of(fd, file);
    CHECK(mask == (FAN_ATTRIB | FAN_DELETE_SELF) && next_of(fd, directory) == FAN_DELETE);
    // The mark is gone with its file.
    CHECK(next_of(fd, file) == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL) == 0);
    CHECK(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE, AT_FDCWD, ".") == 0);
    close(make_file("d/other"));
    CHECK(next_of(fd, directory) == FAN_CREATE && next_of(fd, directory) == 0);
    close(fd);
    NEED(chdir("..") == 0 && umount("i") == 0);
}

static void limits(void) {
    write_file("/proc/sys/fs/fanotify/max_queued_events", "2");
    int fd = instance(0);
    close(make_file("1")), close(make_file("2")), close(make_file("3"));
    for (char name[] = "1"; *name <= '3'; ++*name) {
        CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, name) == 0);
        touch(name);
    }
    CHECK(next(fd, "1") == FAN_OPEN && next(fd, "2") == FAN_OPEN);
    struct fanotify_event_metadata event;
    CHECK(read(fd, &event, sizeof event) == sizeof event && event.mask == FAN_Q_OVERFLOW && event.fd == FAN_NOFD);
    write_file("/proc/sys/fs/fanotify/max_queued_events", "16384");
    write_file("/proc/sys/fs/fanotify/max_user_groups", "1");
    CHECK(fails(fanotify_init(0, O_RDONLY), EMFILE));
    write_file("/proc/sys/fs/fanotify/max_user_groups", "128");
    // One waits until there is an event.
    CHECK(fcntl(fd, F_SETFL, 0) == 0);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        while (process_state(parent) != 'S')
            sleep_ms(1);
        touch("1");
        _exit(0);
    }
    CHECK(read(fd, &event, sizeof event) == sizeof event && event.mask == FAN_OPEN && event.pid == child);
    waitpid(child, NULL, 0);
    close(fd);
}

// Without CAP_SYS_ADMIN: files alone, by identity, and of others not even the process.
static void unprivileged(void) {
    NEED(chmod(".", 0755) == 0 && setuid(65534) == 0);
    CHECK(fails(fanotify_init(0, O_RDONLY), EPERM));
    CHECK(fails(fanotify_init(FAN_REPORT_FID | FAN_UNLIMITED_QUEUE, O_RDONLY), EPERM));
    int fd = fanotify_init(FAN_REPORT_FID | FAN_NONBLOCK, O_RDONLY);
    NEED(fd >= 0);
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, "f"), EPERM));
    CHECK(fails(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "secret"), EACCES));
    CHECK(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "f") == 0);
    pid_t child = fork();
    if (child == 0) {
        touch("f");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    struct identified event;
    CHECK(read(fd, &event, sizeof event) > 0 && event.event.mask == FAN_OPEN && event.event.pid == 0);
    close(fd);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "end") == 0)
        return 0;
    enter_scratch();
    errors();
    files();
    directories();
    mounts();
    identities();
    limits();
    close(make_file("secret"));
    NEED(chmod("secret", 0) == 0);
    unprivileged();
    puts(t_failures ? "failed" : "done");
    DONE();
}
