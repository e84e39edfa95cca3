// User and group ids, groups, sessions, uname, sysinfo: root on a machine of its own.
#include "t.h"
#include <grp.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

int main(void) {
    SHOW(getuid());
    SHOW(geteuid());
    SHOW(getgid());
    SHOW(getegid());
    uid_t r, e, s;
    SHOW(getresuid(&r, &e, &s));
    printf("%u %u %u\n", r, e, s);
    CHECK(getpid() > 0 && getppid() >= 0);
    SHOW(getpid() == syscall(SYS_gettid));
    CHECK(getpgrp() >= 0 && getsid(0) >= 0);
    SHOW(getpgid(0) == getpgrp());
    SHOW(setgid(0));
    SHOW(setuid(0));
    SHOW(setgroups(0, NULL));
    SHOW(getgroups(0, NULL));
    struct utsname u;
    SHOW(uname(&u));
    puts(u.sysname);
    SHOW(strcmp(u.machine, MACHINE));
    CHECK(u.release[0] >= '4' && strchr(u.release, '.') != NULL);
    CHECK(u.nodename[0] != 0);
    char host[65];
    SHOW(gethostname(host, sizeof host));
    SHOW(strcmp(host, u.nodename));
    struct sysinfo i;
    SHOW(sysinfo(&i));
    CHECK(i.totalram * i.mem_unit > 4 << 20 && i.freeram <= i.totalram && i.procs >= 1);
    SHOW(uname((void *)8));
    SHOW(setuid(1000));
    SHOW(getuid());
    SHOW(setuid(0));
    // They return the id before, also where they change nothing.
    SHOW(syscall(SYS_setfsuid, -1) == geteuid());
    SHOW(syscall(SYS_setfsuid, -1) == geteuid());
    SHOW(syscall(SYS_setfsgid, -1) == getegid());
    SHOW(syscall(SYS_setfsgid, 4242424) == getegid());
    SHOW(syscall(SYS_setfsgid, -1) == getegid());
    DONE();
}
