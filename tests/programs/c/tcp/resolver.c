// getaddrinfo of numbers and localhost, getnameinfo, interfaces: what servers do before they listen.
#include "net.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/ioctl.h>

int main(void) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *r;
    SHOW(getaddrinfo("127.0.0.1", "8080", &hints, &r));
    struct sockaddr_in *a = (struct sockaddr_in *)r->ai_addr;
    printf("%s %d\n", inet_ntoa(a->sin_addr), ntohs(a->sin_port));
    freeaddrinfo(r);
    hints.ai_flags = AI_PASSIVE;
    SHOW(getaddrinfo(NULL, "80", &hints, &r));
    a = (struct sockaddr_in *)r->ai_addr;
    printf("%s %d\n", inet_ntoa(a->sin_addr), ntohs(a->sin_port));
    char host[64], service[16];
    hints.ai_flags = 0;
    SHOW(getnameinfo(r->ai_addr, r->ai_addrlen, host, sizeof host, service, sizeof service, NI_NUMERICHOST | NI_NUMERICSERV));
    printf("%s %s\n", host, service);
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    SHOW(ioctl(fd, SIOCGIFFLAGS, &request));
    SHOW((request.ifr_flags & (IFF_UP | IFF_LOOPBACK)) == (IFF_UP | IFF_LOOPBACK));
    SHOW(ioctl(fd, SIOCGIFADDR, &request));
    puts(inet_ntoa(((struct sockaddr_in *)&request.ifr_addr)->sin_addr));
    SHOW(if_nametoindex("lo"));
    DONE();
}
