// IP_PKTINFO tells with each datagram to which address and by which interface it came, and chooses for one that is sent
// which address it comes from.
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
    int value = 0;
    socklen_t size = sizeof value;
    SHOW(getsockopt(b, IPPROTO_IP, IP_PKTINFO, &value, &size));
    SHOW(value);

    // Sent from an address that the program chooses.
    char text2[] = "more", chosen[CMSG_SPACE(sizeof info)] = {0};
    struct iovec out = {text2, 4};
    struct msghdr s = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &out, .msg_iovlen = 1,
                       .msg_control = chosen, .msg_controllen = sizeof chosen};
    c = CMSG_FIRSTHDR(&s);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memset(&info, 0, sizeof info);
    inet_aton("127.0.0.5", &info.ipi_spec_dst);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    SHOW(sendmsg(a, &s, 0));
    struct sockaddr_in from;
    struct msghdr r = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &in, .msg_iovlen = 1,
                       .msg_control = control, .msg_controllen = 8};
    SHOW(recvmsg(b, &r, 0));
    puts(inet_ntoa(from.sin_addr));
    SHOW((r.msg_flags & MSG_CTRUNC) != 0);

    // Not from an address that is not ours, nor by an interface that is not there.
    inet_aton("192.0.2.1", &info.ipi_spec_dst);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    SHOW(sendmsg(a, &s, 0));
    memset(&info, 0, sizeof info);
    info.ipi_ifindex = 99;
    memcpy(CMSG_DATA(c), &info, sizeof info);
    SHOW(sendmsg(a, &s, 0));
    c->cmsg_len = CMSG_LEN(4);
    SHOW(sendmsg(a, &s, 0));
    DONE();
}
