// Network namespaces: an empty one with its loopback down, sockets and ports of its own, rtnetlink's changes, abstract names, setns.
#include "netlink.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static ino_t space_of(const char *path) {
    struct stat st;
    NEED(stat(path, &st) == 0);
    return st.st_ino;
}
static struct sockaddr_in local(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static int bound(int kind, int port) {
    struct sockaddr_in to = local(port);
    int fd = socket(AF_INET, kind, 0);
    NEED(fd >= 0);
    return bind(fd, (void *)&to, sizeof to) == 0 ? fd : (close(fd), -1);
}
static int reached(int port) {
    struct sockaddr_in to = local(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fd >= 0);
    return connect(fd, (void *)&to, sizeof to) == 0 ? fd : (close(fd), -1);
}
static int reached6(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    NEED(fd >= 0);
    int result = connect(fd, (void *)&to, sizeof to);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
static int port_of(int fd) {
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    NEED(getsockname(fd, (void *)&own, &len) == 0);
    return ntohs(own.sin_port);
}
static int route(int type, const char *gateway) {
    struct rtmsg own = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST};
    in_addr_t ip = inet_addr(gateway);
    return change(type, NLM_F_CREATE | NLM_F_EXCL, &own, sizeof own, RTA_GATEWAY, &ip, sizeof ip);
}
static int flags_of_loopback(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0);
    close(fd);
    return request.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
}
static int put_flags_of_loopback(int flags) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = flags};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0);
    int result = ioctl(fd, SIOCSIFFLAGS, &request);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
static void interfaces(void) {
    struct if_nameindex *all = if_nameindex();
    NEED(all);
    for (struct if_nameindex *at = all; at->if_index; at++)
        printf("interface %u %s\n", at->if_index, at->if_name);
    if_freenameindex(all);
}
static int lines_in(const char *path) {
    char line[512];
    int count = 0;
    FILE *file = fopen(path, "r");
    NEED(file);
    while (fgets(line, sizeof line, file))
        count++;
    fclose(file);
    return count;
}
static int name_abstract(int fd, const char *name, int (*call)(int, const struct sockaddr *, socklen_t)) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strcpy(to.sun_path + 1, name);
    return call(fd, (void *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}
static void exchange(int listener) {
    int client = reached(port_of(listener)), server = accept(listener, NULL, NULL);
    NEED(client >= 0 && server >= 0);
    char text[8] = "";
    SHOW(write(client, "hello", 5));
    SHOW(read(server, text, sizeof text));
    SHOW(write(server, "there", 5));
    SHOW(read(client, text, sizeof text));
    printf("%s\n", text);
    close(client);
    SHOW(read(server, text, sizeof text));
    close(server);
}

int main(void) {
    // Outside: a listener, and an abstract name.
    int first = open("/proc/self/ns/net", O_RDONLY);
    NEED(first >= 0);
    ino_t before = space_of("/proc/self/ns/net");
    int listener = bound(SOCK_STREAM, 0);
    NEED(listener >= 0 && listen(listener, 5) == 0);
    int port = port_of(listener);
    char name[32];
    snprintf(name, sizeof name, "coracle-%d", getpid());
    int named = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(named >= 0 && name_abstract(named, name, bind) == 0 && listen(named, 5) == 0);

    NEED(unshare(CLONE_NEWNET) == 0);
    SHOW(space_of("/proc/self/ns/net") != before);
    interfaces();
    SHOW(flags_of_loopback() == IFF_LOOPBACK);
    SHOW(reached(port));
    SHOW(reached6() == 0);
    SHOW(bound(SOCK_STREAM, 0) >= 0);
    SHOW(lines_in("/proc/self/net/dev"));
    SHOW(lines_in("/proc/self/net/tcp"));
    SHOW(lines_in("/proc/self/net/if_inet6"));
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(name_abstract(other, name, connect));
    SHOW(name_abstract(other, name, bind));
    SHOW(listen(other, 1));
    // What was made outside still belongs there, and is not seen here.
    SHOW(lines_in("/proc/self/net/unix") - 1);
    struct sockaddr_in out = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = inet_addr("192.0.2.1")};
    int datagram = socket(AF_INET, SOCK_DGRAM, 0);
    SHOW(connect(datagram, (void *)&out, sizeof out));
    // As container runtimes bring the loopback up.
    SHOW(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "127.0.0.1", 8, 7));
    SHOW(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "127.0.0.1", 8, 1));
    SHOW(address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "127.0.0.1", 8, 1));
    SHOW(address(RTM_DELADDR, 0, "127.0.0.9", 8, 1));
    SHOW(set_link(9, IFF_UP, IFF_UP));
    SHOW(set_link(1, IFF_UP, IFF_UP));
    SHOW(flags_of_loopback() == (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
    SHOW(lines_in("/proc/self/net/if_inet6"));
    SHOW(reached(port));
    SHOW(reached6() == 0);
    SHOW(route(RTM_NEWROUTE, "192.0.2.7"));
    // Ports are its own.
    int same = bound(SOCK_STREAM, port);
    SHOW(same >= 0);
    SHOW(listen(same, 5));
    exchange(same);
    SHOW(lines_in("/proc/self/net/tcp") >= 2);
    SHOW(bound(SOCK_STREAM, port));
    // The listener from outside is reached from outside alone.
    SHOW(fcntl(listener, F_SETFL, O_NONBLOCK));
    SHOW(accept(listener, NULL, NULL));
    // A child shares it; another namespace does not.
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        SHOW(reached(port) >= 0);
        NEED(unshare(CLONE_NEWNET) == 0);
        SHOW(reached(port));
        SHOW(put_flags_of_loopback(IFF_UP));
        SHOW(reached(port));
        int own = bound(SOCK_DGRAM, port);
        struct sockaddr_in to = local(port);
        SHOW(sendto(own, "x", 1, 0, (void *)&to, sizeof to));
        char byte;
        SHOW(recv(own, &byte, 1, 0));
        SHOW(put_flags_of_loopback(0));
        SHOW(sendto(own, "x", 1, 0, (void *)&to, sizeof to));
        SHOW(setns(first, CLONE_NEWUTS));
        SHOW(setns(first, CLONE_NEWNET));
        SHOW(space_of("/proc/self/ns/net") == before);
        int client = reached(port);
        SHOW(client >= 0);
        SHOW(accept(listener, NULL, NULL) >= 0);
        // A socket stays in its namespace: to this one the loopback is down.
        SHOW(sendto(own, "x", 1, 0, (void *)&to, sizeof to));
        int again = socket(AF_UNIX, SOCK_STREAM, 0);
        SHOW(name_abstract(again, name, connect));
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    // By one that has no rights: those of a user namespace's owner.
    pid = fork();
    if (pid == 0) {
        NEED(setgid(1000) == 0 && setuid(1000) == 0);
        SHOW(unshare(CLONE_NEWNET));
        SHOW(set_link(1, 0, IFF_UP));
        SHOW(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
        SHOW(unshare(CLONE_NEWUSER | CLONE_NEWNET));
        SHOW(set_link(1, IFF_UP, IFF_UP));
        SHOW(reached(port));
        SHOW(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
        SHOW(setns(first, 0));
        _exit(0);
    }
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    SHOW(setns(first, CLONE_NEWNET));
    SHOW(accept(listener, NULL, NULL));
    // The other listener is not reached from here.
    close(listener);
    SHOW(reached(port));
    DONE();
}
