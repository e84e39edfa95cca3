// IP_PKTINFO tells with each datagram to which address and by which interface it came.
#include "net.h"

int main(void) {
    int a = udp_socket(), b = udp_socket(), on = 1;
    struct sockaddr_in to = local_address(b);
    SHOW(setsockopt(b, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
    SHOW(sendto(a, "text", 4, 0, ADDR(to)));
    char text[8] = {0}, control[128];
    struct iovec in = {text, 7};
    struct msghdr m = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SHOW(recvmsg(b, &m, 0));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    NEED(c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO);
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    puts(inet_ntoa(info.ipi_addr));
    SHOW(info.ipi_ifindex);
    DONE();
}
