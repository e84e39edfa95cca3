// What root sets up for pseudo-terminals: file systems of their own with their options, how many there may be, and hang-ups of a
// terminal that goes on (pts(4), vhangup(2), proc(5)).
// linux: no
// stdout-has: hung up: 
// stdout-has: opened again: more\x0a
// stdout-has: simulated: typed\x0a
// stdout-has: done
// machines: all
#include "pty.h"
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/vfs.h>

static int setting(const char *name) {
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/sys/kernel/pty/%s", name);
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atoi(text);
}

static int mode_of(const char *path, int owner) {
    struct stat at;
    NEED(stat(path, &at) == 0);
    return owner ? (int)(at.st_uid * 1000 + at.st_gid) : (int)(at.st_mode & 07777);
}

static void instances(void) {
    NEED(mkdir("one", 0755) == 0 && mkdir("two", 0755) == 0);
    CHECK(mount("devpts", "one", "devpts", 0, "newinstance,ptmxmode=0666,mode=0640,uid=7,gid=9,max=2") == 0);
    CHECK(mount("devpts", "two", "devpts", 0, "") == 0);
    CHECK(mount("devpts", "two", "devpts", 0, "mode=8") == -1 && errno == EINVAL);
    CHECK(mount("devpts", "two", "devpts", 0, "what=1") == -1 && errno == EINVAL);
    CHECK(mode_of("one/ptmx", 0) == 0666 && mode_of("two/ptmx", 0) == 0);
    int first = open("one/ptmx", O_RDWR | O_NOCTTY), number = -1;
    CHECK(first >= 0 && ioctl(first, TIOCGPTN, &number) == 0 && number == 0);
    CHECK(mode_of("one/0", 0) == 0640 && mode_of("one/0", 1) == 7009);
    CHECK(access("two/0", F_OK) == -1 && errno == ENOENT);
    int second = open("one/ptmx", O_RDWR | O_NOCTTY);
    CHECK(second >= 0 && ioctl(second, TIOCGPTN, &number) == 0 && number == 1);
    CHECK(open("one/ptmx", O_RDWR | O_NOCTTY) == -1 && errno == ENOSPC);
    CHECK(close(second) == 0 && access("one/1", F_OK) == -1);
    int other = open("two/ptmx", O_RDWR | O_NOCTTY);
    CHECK(other >= 0 && mode_of("two/0", 0) == 0600 && mode_of("two/0", 1) == 0);
    // The device beside a directory `pts` makes pairs in the file system that is mounted there.
    NEED(mkdir("dev", 0755) == 0 && mkdir("dev/pts", 0755) == 0);
    CHECK(mknod("dev/ptmx", S_IFCHR | 0666, 5 << 8 | 2) == 0);
    CHECK(open("dev/ptmx", O_RDWR | O_NOCTTY) == -1 && errno == ENODEV);
    CHECK(mount("devpts", "dev/pts", "devpts", 0, "ptmxmode=600") == 0);
    int beside = open("dev/ptmx", O_RDWR | O_NOCTTY);
    CHECK(beside >= 0 && access("dev/pts/0", F_OK) == 0);
    CHECK(mknod("dev/slave", S_IFCHR | 0666, 136 << 8) == 0);
    CHECK(open("dev/slave", O_RDWR | O_NOCTTY) == -1 && errno == EIO);
    // A slave is opened by its master whatever its path leads to.
    int locked = 0;
    CHECK(ioctl(beside, TIOCSPTLCK, &locked) == 0);
    int slave = ioctl(beside, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    type(beside, "over\n");
    show_read("peer", slave, 100);
    CHECK(umount("dev/pts") == -1 && errno == EBUSY);
    close(slave);
    close(beside);
    CHECK(umount("dev/pts") == 0);
    close(first);
    close(other);
    CHECK(umount("one") == 0 && umount("two") == 0);
}

static void limits(void) {
    int before = setting("nr"), most = setting("max");
    CHECK(before == 0 && most == 4096);
    char text[16];
    snprintf(text, sizeof text, "%d\n", 3);
    write_file("/proc/sys/kernel/pty/max", text);
    struct pair pairs[3];
    for (int i = 0; i < 3; i++)
        pairs[i] = new_pair();
    CHECK(setting("nr") == 3);
    CHECK(open("/dev/ptmx", O_RDWR | O_NOCTTY) == -1 && errno == ENOSPC);
    for (int i = 0; i < 3; i++)
        close_pair(&pairs[i]);
    CHECK(setting("nr") == 0);
    snprintf(text, sizeof text, "%d\n", most);
    write_file("/proc/sys/kernel/pty/max", text);
    int fd = open("/proc/sys/kernel/pty/max", O_WRONLY);
    CHECK(write(fd, "many", 4) == -1 && errno == EINVAL);
    close(fd);
}

// As many pairs as memory allows: then an error, and none of it is kept.
static void memory(void) {
    enum { MOST = 5000 };
    static int masters[MOST];
    int made = 0;
    struct rlimit limit = {2 * MOST, 2 * MOST};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    while (made < MOST && (masters[made] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)) >= 0)
        made++;
    CHECK(made > 100 && made < MOST);
    CHECK(errno == ENOMEM || errno == ENFILE || errno == ENOSPC);
    close(masters[--made]);
    CHECK(setting("nr") == made);
    while (made > 0)
        close(masters[--made]);
    CHECK(setting("nr") == 0);
    struct pair pair = new_pair();
    close_pair(&pair);
}

static volatile sig_atomic_t caught[2];
static void note(int signal) { caught[signal == SIGCONT]++; }

static void hang_up(void) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        CHECK(setsid() == getpid());
        signal(SIGHUP, note), signal(SIGCONT, note);
        CHECK(vhangup() == 0 && !caught[0]);
        struct pair pair = new_master();
        pair.slave = open(pair.name, O_RDWR);
        type(pair.master, "lost\n");
        await(pair.slave, POLLIN);
        CHECK(vhangup() == 0);
        CHECK(caught[0] == 1 && caught[1] == 1);
        show_read("hung up", pair.slave, 100);
        CHECK(write(pair.slave, "x", 1) == -1 && errno == EIO);
        show_events("hung up", pair.slave);
        CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
        // The terminal itself goes on.
        int again = open(pair.name, O_RDWR);
        CHECK(again >= 0 && tcgetsid(again) == getpid());
        type(pair.master, "more\n");
        show_read("opened again", again, 100);
        // Others may not do so.
        CHECK(setuid(65534) == 0);
        CHECK(vhangup() == -1 && errno == EPERM);
        exit(t_failures != 0);
    }
    show_end("child", child);
}

// Only its owner and root may open a slave.
static void rights(void) {
    struct pair pair = new_master();
    CHECK(mode_of(pair.name, 0) == 0620 && mode_of(pair.name, 1) == 5);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        NEED(setgid(65534) == 0 && setuid(65534) == 0);
        CHECK(open(pair.name, O_RDWR | O_NOCTTY) == -1 && errno == EACCES);
        struct pair own = new_pair();
        CHECK(mode_of(own.name, 1) == 65534005);
        CHECK(ioctl(own.slave, TIOCEXCL) == 0);
        CHECK(open(own.name, O_RDWR | O_NOCTTY) == -1 && errno == EBUSY);
        char byte = 'x';
        CHECK(ioctl(own.slave, TIOCSTI, &byte) == -1 && errno == EPERM);
        exit(t_failures != 0);
    }
    show_end("child", child);
    pair.slave = open(pair.name, O_RDWR | O_NOCTTY);
    const char *text = "typed\n";
    for (const char *byte = text; *byte; byte++)
        CHECK(ioctl(pair.slave, TIOCSTI, byte) == 0);
    show_read("simulated", pair.slave, 100);
    close_pair(&pair);
}

int main(void) {
    enter_scratch();
    limits();
    instances();
    hang_up();
    rights();
    memory();
    printf("done\n");
    DONE();
}
