// Masters and slaves of pseudo-terminals: names, numbers, locks, what stat(2) says, which ioctl(2) each end takes, the size of the
// window, and what one end sees when the other is closed (pty(7), ptmx(4), ioctl_tty(2)).
#include "pty.h"
#include <sys/sysmacros.h>
#include <sys/vfs.h>

static void names(void) {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), number = -1, locked = -1;
    NEED(master >= 0);
    SHOW(ioctl(master, TIOCGPTN, &number));
    SHOW(ioctl(master, TIOCGPTLCK, &locked));
    SHOW(locked);
    char name[64];
    SHOW(ptsname_r(master, name, sizeof name));
    SHOW(strncmp(name, "/dev/pts/", 9) == 0 && atoi(name + 9) == number);
    SHOW(open(name, O_RDWR | O_NOCTTY));
    SHOW(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    locked = 0;
    SHOW(ioctl(master, TIOCSPTLCK, &locked));
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    NEED(slave >= 0);
    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    NEED(peer >= 0);
    SHOW(fcntl(peer, F_GETFD) == FD_CLOEXEC && (fcntl(peer, F_GETFL) & O_ACCMODE) == O_RDWR);
    struct stat of_slave, of_peer, of_master, of_path;
    NEED(fstat(slave, &of_slave) == 0 && fstat(peer, &of_peer) == 0 && fstat(master, &of_master) == 0);
    NEED(stat(name, &of_path) == 0);
    SHOW(of_slave.st_ino == of_peer.st_ino && of_slave.st_dev == of_peer.st_dev);
    SHOW(of_slave.st_ino == of_path.st_ino && of_slave.st_ino == (ino_t)number + 3);
    SHOW(major(of_slave.st_rdev));
    SHOW(minor(of_slave.st_rdev) == (unsigned)number);
    SHOW(S_ISCHR(of_slave.st_mode));
    SHOW(of_slave.st_uid == geteuid());
    SHOW(of_slave.st_nlink);
    SHOW(major(of_master.st_rdev) * 1000 + minor(of_master.st_rdev));
    struct statfs fs;
    NEED(statfs("/dev/pts", &fs) == 0);
    SHOW(fs.f_type == 0x1cd1);
    char found[64];
    SHOW(ttyname_r(slave, found, sizeof found));
    SHOW(strcmp(found, name) == 0);
    SHOW(isatty(slave) && isatty(master));
    SHOW(lseek(slave, 0, SEEK_SET));
    SHOW(chmod(name, 0640));
    NEED(fstat(slave, &of_slave) == 0);
    printf("mode %o\n", of_slave.st_mode & 07777);
    SHOW(unlink(name) == -1 && (errno == EPERM || errno == EACCES));
    close(peer);
    close(slave);
    close(master);
    SHOW(stat(name, &of_path));
    // The lowest number is taken again.
    struct pair first = new_master(), second = new_master();
    NEED(strcmp(first.name, second.name) != 0);
    close(first.master);
    struct pair third = new_master();
    SHOW(strcmp(first.name, third.name));
    close(second.master);
    close(third.master);
}

static void modes(void) {
    struct pair pair = new_pair();
    struct termios of_slave, of_master;
    NEED(tcgetattr(pair.slave, &of_slave) == 0 && tcgetattr(pair.master, &of_master) == 0);
    printf("%o %o %o %o\n", of_slave.c_iflag, of_slave.c_oflag, of_slave.c_cflag, of_slave.c_lflag);
    for (int i = 0; i < 17; i++)
        printf("%d ", of_slave.c_cc[i]);
    printf("\n");
    SHOW(of_slave.c_lflag == of_master.c_lflag);
    of_slave.c_cflag = CS5 | PARENB;
    SHOW(tcsetattr(pair.master, TCSADRAIN, &of_slave));
    NEED(tcgetattr(pair.slave, &of_slave) == 0);
    printf("%o\n", of_slave.c_cflag);
    struct winsize size = {1, 2, 3, 4};
    SHOW(ioctl(pair.slave, TIOCGWINSZ, &size));
    SHOW(size.ws_row + size.ws_col + size.ws_xpixel + size.ws_ypixel);
    size = (struct winsize){24, 80, 3, 4};
    SHOW(ioctl(pair.master, TIOCSWINSZ, &size));
    size = (struct winsize){0};
    SHOW(ioctl(pair.slave, TIOCGWINSZ, &size));
    SHOW(size.ws_row * 1000 + size.ws_col * 10 + size.ws_ypixel);
    int value = -1;
    char byte = 'x';
    SHOW(ioctl(pair.slave, TIOCGPTN, &value));
    SHOW(ioctl(pair.slave, TIOCSPTLCK, &value));
    SHOW(ioctl(pair.slave, TIOCPKT, &value));
    SHOW(ioctl(pair.slave, TIOCSIG, SIGINT));
    SHOW(ioctl(pair.slave, TIOCGPGRP, &value));
    SHOW(ioctl(pair.slave, TIOCGSID, &value));
    SHOW(ioctl(pair.master, TIOCGPGRP, &value));
    SHOW(value);
    SHOW(ioctl(pair.master, TIOCGSID, &value));
    value = getpgrp();
    SHOW(ioctl(pair.slave, TIOCSPGRP, &value));
    SHOW(ioctl(pair.master, TIOCSPGRP, &value));
    SHOW(ioctl(pair.slave, TIOCNOTTY));
    SHOW(ioctl(pair.master, TIOCNOTTY));
    SHOW(ioctl(pair.master, TIOCSIG, SIGTERM));
    SHOW(ioctl(pair.master, TIOCSIG, SIGINT));
    SHOW(ioctl(pair.slave, TIOCGETD, &value));
    SHOW(value);
    value = 99;
    SHOW(ioctl(pair.slave, TIOCSETD, &value));
    SHOW(ioctl(pair.slave, TCSBRK, 0));
    SHOW(ioctl(pair.slave, TIOCSBRK, 0));
    SHOW(tcdrain(pair.slave));
    SHOW(ioctl(pair.slave, TCXONC, 9));
    SHOW(ioctl(pair.slave, TCFLSH, 9));
    SHOW(ioctl(pair.slave, TIOCMGET, &value));
    SHOW(ioctl(pair.slave, TIOCGSERIAL, &byte));
    SHOW(ioctl(pair.slave, TIOCOUTQ, &value));
    SHOW(value);
    SHOW(ioctl(pair.slave, 0x5499, &value));
    SHOW(ioctl(pair.slave, TCGETS, (void *)8));
    SHOW(ioctl(pair.slave, TIOCGEXCL, &value));
    SHOW(value);
    SHOW(ioctl(pair.slave, TIOCEXCL));
    SHOW(ioctl(pair.slave, TIOCGEXCL, &value));
    SHOW(value);
    SHOW(ioctl(pair.slave, TIOCNXCL));
    close_pair(&pair);
}

static void ends(void) {
    // Bytes wait for a slave that isn't open yet, and for one that is opened again.
    struct pair pair = new_master();
    show_events("master without slave", pair.master);
    type(pair.master, "early\n");
    pair.slave = open(pair.name, O_RDWR | O_NOCTTY);
    NEED(pair.slave >= 0);
    show_read("slave", pair.slave, 100);
    show_until("echo", pair.master, '\n');
    show_events("master", pair.master);
    show_events("slave", pair.slave);
    NEED(write(pair.slave, "last\n", 5) == 5);
    close(pair.slave);
    await(pair.master, POLLHUP);
    show_until("after the slave", pair.master, '\n');
    show_read("closed slave", pair.master, 100);
    show_events("closed slave", pair.master);
    pair.slave = open(pair.name, O_RDWR | O_NOCTTY);
    NEED(pair.slave >= 0);
    show_events("opened again", pair.master);
    type(pair.master, "unread\n");
    show_until("echo", pair.master, '\n');
    close(pair.master);
    show_events("closed master", pair.slave);
    show_read("closed master", pair.slave, 100);
    SHOW(write(pair.slave, "x", 1));
    struct termios modes;
    int group = getpgrp();
    SHOW(tcgetattr(pair.slave, &modes));
    SHOW(ioctl(pair.slave, FIONREAD, &group));
    SHOW(ioctl(pair.slave, TIOCSPGRP, &group));
    SHOW(open(pair.name, O_RDWR | O_NOCTTY));
    close(pair.slave);
}

int main(void) {
    names();
    modes();
    ends();
    DONE();
}
