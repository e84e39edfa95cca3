// The ioctls of arp(7), as far as they need neither a neighbour nor a right: which sockets have them, and what is refused.
#include "net.h"
#include <net/if_arp.h>
#include <sys/ioctl.h>

static struct arpreq request(const char *address, const char *device, int flags) {
    struct arpreq request = {.arp_flags = flags};
    struct sockaddr_in *in = (struct sockaddr_in *)&request.arp_pa;
    in->sin_family = AF_INET;
    NEED(inet_pton(AF_INET, address, &in->sin_addr) == 1);
    strcpy(request.arp_dev, device);
    return request;
}

static void asked(const char *what, int family, int type) {
    int fd = socket(family, type, 0);
    NEED(fd >= 0);
    struct arpreq r = request("127.0.0.1", "lo", 0);
    printf("%s: ", what);
    SHOW(ioctl(fd, SIOCGARP, &r));
    NEED(close(fd) == 0);
}

int main(void) {
    asked("udp", AF_INET, SOCK_DGRAM);
    asked("tcp", AF_INET, SOCK_STREAM);
    asked("udp6", AF_INET6, SOCK_DGRAM);
    asked("unix", AF_UNIX, SOCK_DGRAM);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0);
    struct arpreq r = request("127.0.0.1", "", 0);
    SHOW(ioctl(fd, SIOCGARP, &r));
    r = request("127.0.0.1", "none0", 0);
    SHOW(ioctl(fd, SIOCGARP, &r));
    r = request("127.0.0.1", "lo", ATF_NETMASK);
    SHOW(ioctl(fd, SIOCGARP, &r));
    r = request("127.0.0.1", "lo", ATF_COM);
    r.arp_ha.sa_family = ARPHRD_ETHER;
    SHOW(ioctl(fd, SIOCGARP, &r));
    r = request("127.0.0.1", "lo", 0);
    r.arp_pa.sa_family = AF_INET6;
    printf("another family: %s\n", ioctl(fd, SIOCGARP, &r) < 0 && errno == EPFNOSUPPORT ? "EPFNOSUPPORT" : "another answer");
    SHOW(ioctl(fd, SIOCGARP, NULL));
    // Changes need CAP_NET_ADMIN.
    if (getuid() == 0)
        NEED(setuid(1000) == 0);
    r = request("127.0.0.1", "lo", ATF_PERM);
    SHOW(ioctl(fd, SIOCSARP, &r));
    SHOW(ioctl(fd, SIOCDARP, &r));
    DONE();
}
