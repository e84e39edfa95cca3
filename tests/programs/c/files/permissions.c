// Who may do what with files: owner, group and others, directories, sticky ones, capabilities that come and go with ids.
#include "t.h"
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define USER 1000
#define GROUP 1000
#define OTHER_GROUP 50

static int try_open(const char *name, int flags) {
    int fd = open(name, flags, 0644);
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : -1;
}
static int make(const char *name, int mode, int uid, int gid) {
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
    return fd < 0 || close(fd) || chown(name, uid, gid) || chmod(name, mode);
}
static int make_directory(const char *name, int mode, int uid, int gid) {
    return mkdir(name, 0700) || chown(name, uid, gid) || chmod(name, mode);
}
static int mode(const char *name) {
    struct stat st;
    return stat(name, &st) ? -1 : (int)(st.st_mode & 07777);
}
static int try_connect(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, name);
    int s = socket(AF_UNIX, SOCK_STREAM, 0), r = connect(s, (void *)&address, sizeof address), e = errno;
    close(s);
    errno = e;
    return r;
}
static int try_bind(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, name);
    int s = socket(AF_UNIX, SOCK_STREAM, 0), r = bind(s, (void *)&address, sizeof address), e = errno;
    if (!r)
        listen(s, 1); // Stays open: others connect to it.
    else
        close(s);
    errno = e;
    return r;
}
static char *const NO_ARGS[] = {"x", NULL};

static void look(void) {
    SHOW(try_open("root600", O_RDONLY));
    SHOW(try_open("root644", O_RDONLY));
    SHOW(try_open("root644", O_WRONLY));
    SHOW(try_open("root644", O_RDONLY | O_TRUNC));
    SHOW(try_open("root666", O_RDWR));
    SHOW(try_open("root600", O_PATH));
    SHOW(try_open("root644", O_RDONLY | O_NOATIME));
    SHOW(try_open("own000", O_RDONLY));
    SHOW(try_open("own400", O_RDONLY));
    SHOW(try_open("own400", O_WRONLY));
    SHOW(try_open("group040", O_RDONLY));
    SHOW(try_open("own077", O_RDONLY));
    SHOW(try_open("closed/in", O_RDONLY));
    SHOW(try_open("closed/absent", O_RDONLY));
    SHOW(try_open("closed", O_RDONLY | O_DIRECTORY));
    SHOW(try_open("search/in", O_RDONLY));
    SHOW(try_open("search", O_RDONLY | O_DIRECTORY));
    SHOW(try_open("list/in", O_RDONLY));
    SHOW(try_open("list", O_RDONLY | O_DIRECTORY));
    struct stat st;
    SHOW(stat("closed/in", &st));
    SHOW(stat("closed/../root644", &st));
    SHOW(stat("search/../root644", &st));
    SHOW(stat("root600", &st));
    SHOW(access("root600", R_OK));
    SHOW(access("root600", F_OK));
    SHOW(access("root644", W_OK));
    SHOW(access("own400", X_OK));
    SHOW(faccessat(AT_FDCWD, "root600", R_OK, AT_EACCESS));
    SHOW(try_open("new", O_CREAT | O_WRONLY));
    SHOW(mkdir("newdir", 0700));
    SHOW(symlink("a", "newlink"));
    SHOW(mknod("newfifo", S_IFIFO | 0600, 0));
    SHOW(mknod("open/device", S_IFCHR | 0600, makedev(1, 3)));
    SHOW(unlink("root666"));
    SHOW(rename("root666", "open/moved"));
    SHOW(rename("open/moved", "open/again"));
    SHOW(unlink("sticky/roots"));
    SHOW(rename("sticky/roots", "sticky/stolen"));
    SHOW(unlink("sticky/own"));
    SHOW(truncate("root644", 0));
    SHOW(truncate("own600", 3));
    SHOW(chmod("root666", 0600));
    SHOW(chmod("own600", 0640));
    SHOW(mode("own600"));
    SHOW(chown("own600", 0, -1));
    SHOW(chown("own600", -1, OTHER_GROUP));
    SHOW(chown("own600", -1, 77));
    SHOW(chown("own600", USER, GROUP));
    SHOW(utimensat(AT_FDCWD, "root644", NULL, 0));
    SHOW(utimensat(AT_FDCWD, "root666", NULL, 0));
    struct timespec times[2] = {{1, 2}, {3, 4}};
    SHOW(utimensat(AT_FDCWD, "root666", times, 0));
    SHOW(utimensat(AT_FDCWD, "own400", times, 0));
    SHOW(link("root644", "open/link"));
    SHOW(link("root666", "open/link"));
    SHOW(link("own400", "open/link2"));
    SHOW(chdir("closed"));
    SHOW(chroot("open"));
    SHOW(execv("root700", NO_ARGS));
    SHOW(execv("root644", NO_ARGS));
    SHOW(try_connect("socket600"));
    SHOW(try_connect("socket666"));
    SHOW(try_bind("mine"));
    SHOW(try_bind("open/mine"));
    SHOW(try_open("/proc/self/comm", O_WRONLY));
    SHOW(try_open("/proc/self/fd", O_RDONLY));
    SHOW(try_open("/proc/self/status", O_RDONLY));
    SHOW(try_open("/dev/null", O_RDWR));
}

int main(void) {
    enter_scratch();
    umask(022);
    CHECK(!chmod(".", 0755));
    CHECK(!make("root600", 0600, 0, 0) && !make("root644", 0644, 0, 0) && !make("root666", 0666, 0, 0));
    CHECK(!make("root700", 0700, 0, 0) && !make("group040", 0040, 0, OTHER_GROUP));
    CHECK(!make("own000", 0, USER, GROUP) && !make("own400", 0400, USER, GROUP) && !make("own600", 0600, USER, GROUP));
    CHECK(!make("own077", 0077, USER, GROUP));
    CHECK(!make_directory("closed", 0700, 0, 0) && !make("closed/in", 0666, 0, 0));
    CHECK(!make_directory("search", 0711, 0, 0) && !make("search/in", 0666, 0, 0));
    CHECK(!make_directory("list", 0744, 0, 0) && !make("list/in", 0666, 0, 0));
    CHECK(!make_directory("open", 0777, 0, 0));
    CHECK(!make_directory("sticky", 01777, 0, 0) && !make("sticky/roots", 0666, 0, 0) && !make("sticky/own", 0600, USER, GROUP));
    CHECK(!try_bind("socket600") && !chmod("socket600", 0600) && !try_bind("socket666") && !chmod("socket666", 0666));
    gid_t groups[] = {OTHER_GROUP};
    CHECK(!setgroups(1, groups));

    // Root's paths are not the user's, even just after.
    SHOW(try_open("closed/in", O_RDONLY));
    char path[PATH_MAX];
    CHECK(getcwd(path, sizeof path - 20));
    strcat(path, "/closed/in");
    SHOW(try_open(path, O_RDONLY));
    CHECK(!setegid(GROUP) && !seteuid(USER));
    SHOW(try_open(path, O_RDONLY));
    SHOW(try_open("root600", O_RDONLY));
    SHOW(access("root600", R_OK)); // Asks for the real user.
    SHOW(faccessat(AT_FDCWD, "root600", R_OK, AT_EACCESS));
    CHECK(!seteuid(0));
    SHOW(try_open("root600", O_RDONLY)); // Capabilities are back.
    // A directory that was open to all when a path was walked.
    CHECK(!chmod("closed", 0755) && !seteuid(USER));
    SHOW(try_open(path, O_RDONLY));
    CHECK(!seteuid(0) && !chmod("closed", 0700) && !seteuid(USER));
    SHOW(try_open(path, O_RDONLY));
    CHECK(!seteuid(0) && !setresgid(GROUP, GROUP, GROUP) && !setresuid(USER, USER, USER));
    CHECK(!prctl(PR_SET_DUMPABLE, 1)); // Its files in /proc are its own again.
    look();
    DONE();
}
