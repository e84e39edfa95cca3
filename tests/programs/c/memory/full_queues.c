// Queues of many objects are filled until memory is short, by kinds of them that each let only a little wait. The call that
// fills them fails then, and no process is killed.
// link: static
// memory: 64M
// linux: no
// machines: all
// stdout-has: netlink refuses
// stdout-has: connect refuses
// stdout-has: tcp refuses
// stdout-has: epoll refuses
// stdout-has: pipe refuses
#include "net.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char bytes[60000];

// Unread answers of netlink sockets.
static int netlink(void) {
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{20, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {0}};
    for (;;) {
        int s = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0);
        if (s < 0)
            return errno;
        for (int i = 0; i < 100; i++)
            if (send(s, &request, 20, 0) < 0)
                return errno;
    }
}

// Connections of closed sockets that nothing accepts.
static int connections(void) {
    for (int i = 0;; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "full-%d", i);
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        if (listener < 0)
            return errno;
        NEED(bind(listener, ADDR(address)) == 0 && listen(listener, 4096) == 0);
        for (;;) {
            int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
            int error = client < 0 || connect(client, ADDR(address)) < 0 ? errno : 0;
            close(client);
            if (error == EAGAIN)
                break;
            if (error)
                return error;
        }
    }
}

static int tcp(void) {
    for (;;) {
        int listener = tcp_listener(4096);
        struct sockaddr_in address = local_address(listener);
        for (int i = 0; i < 300; i++) {
            int client = socket(AF_INET, SOCK_STREAM, 0);
            int error = client < 0 || connect(client, ADDR(address)) < 0 ? errno : 0;
            if (error)
                return error;
            send(client, bytes, 20000, MSG_DONTWAIT | MSG_NOSIGNAL);
            close(client);
        }
    }
}

// Many files in many sets.
static int sets(void) {
    int files[2000];
    for (int i = 0; i < 2000; i++)
        NEED((files[i] = eventfd(0, 0)) >= 0);
    struct epoll_event event = {.events = EPOLLIN};
    for (;;) {
        int set = epoll_create1(0);
        if (set < 0)
            return errno;
        for (int i = 0; i < 2000; i++)
            if (epoll_ctl(set, EPOLL_CTL_ADD, files[i], &event) < 0)
                return errno;
    }
}

static int pipes(void) {
    for (;;) {
        int ends[2];
        if (pipe2(ends, O_NONBLOCK) < 0)
            return errno;
        while (write(ends[1], bytes, sizeof bytes) > 0) {
        }
    }
}

static void fill(const char *name, int (*fill)(void), int error, int other) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        int got = fill();
        // There are pages for the program still.
        char *page = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED)
            memset(page, 1, 16 * 4096);
        printf("%s %s%s\n", name, got == error || got == other ? "refuses" : "fails: ",
               got == error || got == other ? "" : strerror(got));
        fflush(stdout);
        _exit(0);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    NEED(status == 0);
}

int main(void) {
    struct rlimit limit;
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    memset(bytes, 1, sizeof bytes);
    fill("netlink", netlink, ENOBUFS, ENFILE);
    fill("connect", connections, ENOMEM, ENFILE);
    fill("tcp", tcp, ENOBUFS, ENFILE);
    fill("epoll", sets, ENOSPC, ENFILE);
    fill("pipe", pipes, ENFILE, ENOMEM);
    DONE();
}
