// What inotify(7) reports of each change of a file and of a directory, to watches of both, and in which order.
// machines: all
#include "notify.h"
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <dirent.h>

static int fd;

static void contents(void) {
    int file = open("file", O_RDWR | O_CREAT | O_EXCL, 0644);
    show_events("open with O_CREAT", fd);
    SHOW(inotify_add_watch(fd, "file", IN_ALL_EVENTS));
    NEED(write(file, "text", 4) == 4);
    show_events("write", fd);
    char bytes[10];
    NEED(read(file, bytes, sizeof bytes) == 0);
    show_events("read of nothing", fd);
    NEED(pread(file, bytes, 2, 0) == 2);
    show_events("pread", fd);
    NEED(pwrite(file, bytes, 2, 1) == 2);
    show_events("pwrite", fd);
    NEED(write(file, bytes, 0) == 0);
    show_events("write of nothing", fd);
    NEED(ftruncate(file, 2) == 0);
    show_events("ftruncate", fd);
    NEED(truncate("file", 8) == 0);
    show_events("truncate", fd);
    NEED(fallocate(file, 0, 0, 100) == 0);
    show_events("fallocate", fd);
    int other = open("other", O_RDWR | O_CREAT, 0644);
    show_events("another", fd);
    NEED(lseek(file, 0, SEEK_SET) == 0 && sendfile(other, file, NULL, 5) == 5);
    show_events("sendfile", fd);
    NEED(lseek(file, 0, SEEK_SET) == 0 && copy_file_range(file, NULL, other, NULL, 5, 0) == 5);
    show_events("copy_file_range", fd);
    close(other);
    show_events("close for writing", fd);
    int same = dup(file);
    close(file);
    show_events("close of one of two", fd);
    close(same);
    show_events("close of both", fd);
    close(open("file", O_RDONLY));
    show_events("open for reading", fd);
    close(open("file", O_PATH));
    show_events("O_PATH", fd);
    char path[64];
    file = open("file", O_RDONLY);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    show_events("open", fd);
    close(open(path, O_RDONLY));
    show_events("open by /proc/self/fd", fd);
    close(file);
    show_events("close", fd);
}

static void attributes(void) {
    NEED(chmod("file", 0600) == 0);
    show_events("chmod", fd);
    int file = open("file", O_RDONLY);
    NEED(fchmod(file, 0644) == 0);
    show_events("open, fchmod", fd);
    NEED(fchown(file, -1, getegid()) == 0);
    show_events("fchown", fd);
    NEED(futimens(file, NULL) == 0);
    show_events("futimens", fd);
    struct timespec times[2] = {{1, 0}, {.tv_nsec = UTIME_OMIT}};
    NEED(utimensat(AT_FDCWD, "file", times, 0) == 0);
    show_events("time of access", fd);
    struct timespec modified[2] = {{.tv_nsec = UTIME_OMIT}, {1, 0}};
    NEED(utimensat(AT_FDCWD, "file", modified, 0) == 0);
    show_events("time of modification", fd);
    close(file);
    show_events("close", fd);
}

static void names(void) {
    NEED(link("file", "second") == 0);
    show_events("link", fd);
    NEED(symlink("file", "symlink") == 0);
    show_events("symlink", fd);
    NEED(mkfifo("fifo", 0644) == 0);
    show_events("mkfifo", fd);
    struct sockaddr_un address = {AF_UNIX, "socket"};
    int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(bind(socket_fd, (struct sockaddr *)&address, sizeof address) == 0);
    close(socket_fd);
    show_events("bind", fd);
    NEED(rename("second", "third") == 0);
    show_events("rename", fd);
    NEED(rename("file", "third") == 0);
    show_events("rename to another name of itself", fd);
    NEED(rename("other", "fifo") == 0);
    show_events("rename over a fifo", fd);
    NEED(mkdir("sub", 0755) == 0);
    show_events("mkdir", fd);
    SHOW(inotify_add_watch(fd, "sub", IN_ALL_EVENTS));
    NEED(rename("third", "sub/moved") == 0);
    show_events("rename into a directory", fd);
    int file = open("sub/moved", O_RDWR);
    show_events("open", fd);
    NEED(renameat2(AT_FDCWD, "sub/moved", AT_FDCWD, "fifo", RENAME_EXCHANGE) == 0);
    show_events("exchange", fd);
    close(file);
    show_events("close of an exchanged file", fd);
    DIR *directory = opendir("sub");
    show_events("opendir", fd);
    while (readdir(directory)) {
    }
    show_events("readdir", fd);
    closedir(directory);
    show_events("closedir", fd);
    NEED(rename("sub", "moved") == 0);
    show_events("rename of a directory", fd);
    NEED(chmod("moved", 0700) == 0);
    show_events("chmod of a directory", fd);
}

static void ends(void) {
    NEED(unlink("file") == 0);
    show_events("unlink of one name", fd);
    NEED(unlink("fifo") == 0);
    show_events("unlink of the last", fd);
    int file = make_file("open");
    SHOW(inotify_add_watch(fd, "open", IN_ALL_EVENTS));
    show_events("open", fd);
    NEED(unlink("open") == 0);
    show_events("unlink of an open file", fd);
    NEED(write(file, "x", 1) == 1);
    show_events("write", fd);
    close(file);
    show_events("close", fd);
    NEED(unlink("moved/moved") == 0);
    show_events("unlink in a directory", fd);
    NEED(rmdir("moved") == 0);
    show_events("rmdir", fd);
    close(make_file("one"));
    close(make_file("two"));
    SHOW(inotify_add_watch(fd, "two", IN_ALL_EVENTS));
    show_events("two files", fd);
    NEED(rename("one", "two") == 0);
    show_events("rename over a watched file", fd);
    // What is unlinked may be left out.
    SHOW(inotify_add_watch(fd, ".", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    file = open("two", O_RDWR);
    NEED(unlink("two") == 0);
    NEED(write(file, "x", 1) == 1);
    close(file);
    show_events("IN_EXCL_UNLINK", fd);
    NEED(rmdir("/proc/self/cwd/none") == -1 && unlink("none") == -1 && open("none", O_RDONLY) == -1);
    show_events("nothing", fd);
}

int main(void) {
    enter_scratch();
    fd = new_instance();
    SHOW(inotify_add_watch(fd, ".", IN_ALL_EVENTS));
    contents();
    attributes();
    names();
    ends();
    char path[PATH_MAX];
    NEED(getcwd(path, sizeof path) != NULL && unlink("symlink") == 0 && unlink("socket") == 0);
    NEED(chdir("/") == 0 && rmdir(path) == 0);
    show_events("the directory itself", fd);
    SHOW(inotify_rm_watch(fd, 1));
    DONE();
}
