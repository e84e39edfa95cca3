// The file system of message queues, mounted (mq_overview(7), "Mounting the message queue filesystem").
// linux: no
// stdout-has: created
// stdout-has: made by open: 10 messages of 8192 bytes
// stdout-has: 2 entries, magic 0x19800202
// stdout-has: QSIZE:5          NOTIFY:0     SIGNO:10    NOTIFY_PID:
// stdout-has: rename: EPERM
// stdout-has: mkdir: EPERM
// stdout-has: link: EPERM
// stdout-has: gone
#include "t.h"
#include <dirent.h>
#include <mqueue.h>
#include <sys/mount.h>
#include <sys/vfs.h>

static const char *failed(int result) { return result == 0 ? "done" : t_errno(errno); }

int main(void) {
    enter_scratch();
    NEED(mkdir("queues", 0700) == 0);
    NEED(mount("none", "queues", "mqueue", 0, NULL) == 0);
    struct mq_attr few = {.mq_maxmsg = 2, .mq_msgsize = 16}, got;
    mqd_t queue = mq_open("/called", O_RDWR | O_CREAT | O_EXCL, 0600, &few);
    NEED(queue >= 0);
    NEED(access("queues/called", F_OK) == 0);
    puts("created");
    int fd = open("queues/by-open", O_RDWR | O_CREAT, 0600);
    NEED(fd >= 0);
    NEED(mq_getattr(fd, &got) == 0);
    printf("made by open: %ld messages of %ld bytes\n", got.mq_maxmsg, got.mq_msgsize);

    int entries = 0;
    DIR *directory = opendir("queues");
    for (struct dirent *e; (e = readdir(directory));)
        entries += *e->d_name != '.';
    closedir(directory);
    struct statfs fs;
    NEED(statfs("queues", &fs) == 0);
    printf("%d entries, magic %#lx\n", entries, (long)fs.f_type);

    NEED(mq_send(queue, "12345", 5, 0) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    NEED(mq_notify(queue, &event) == 0);
    char line[128] = "";
    int seen = open("queues/called", O_RDONLY);
    NEED(read(seen, line, sizeof line - 1) > 0);
    printf("%s", line);
    printf("rename: %s\n", failed(rename("queues/called", "queues/other")));
    printf("mkdir: %s\n", failed(mkdir("queues/d", 0700)));
    printf("link: %s\n", failed(link("queues/called", "queues/other")));
    NEED(unlink("queues/by-open") == 0 && mq_unlink("/called") == 0);
    NEED(access("queues/called", F_OK) == -1 && access("queues/by-open", F_OK) == -1);
    NEED(close(seen) == 0 && close(fd) == 0 && umount("queues") == 0);
    puts("gone");
    DONE();
}
