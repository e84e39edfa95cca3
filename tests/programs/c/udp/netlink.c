// The messages of a dump of links, addresses and routes (rtnetlink(7)) are made of whole attributes: each is padded to four
// bytes, the last one, too, and the length of the message counts that. Links tell what they carried (IFLA_STATS and IFLA_STATS64).
#include "t.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int misfits, loopbacks, local_addresses, is_loopback, wide, narrow;

static void look(struct nlmsghdr *message, size_t fixed) {
    size_t left = message->nlmsg_len - NLMSG_LENGTH(fixed);
    char *at = (char *)NLMSG_DATA(message) + fixed;
    misfits += message->nlmsg_len % NLMSG_ALIGNTO != 0;
    while (left > 0) {
        struct rtattr *one = (struct rtattr *)at;
        // As strict parsers have it: the padding is there behind each.
        if (left < sizeof *one || one->rta_len < sizeof *one || RTA_ALIGN(one->rta_len) > left) {
            misfits++;
            return;
        }
        if (message->nlmsg_type == RTM_NEWLINK && one->rta_type == IFLA_IFNAME) {
            is_loopback = strcmp(RTA_DATA(one), "lo") == 0;
            loopbacks += is_loopback;
        }
        // What goes out over the loopback comes in. Newer kernels have more counters behind those that all have.
        if (message->nlmsg_type == RTM_NEWLINK && is_loopback && one->rta_type == IFLA_STATS64) {
            struct rtnl_link_stats64 counters;
            NEED(RTA_PAYLOAD(one) >= offsetof(struct rtnl_link_stats64, rx_nohandler));
            memcpy(&counters, RTA_DATA(one), offsetof(struct rtnl_link_stats64, rx_nohandler));
            wide += counters.rx_packets > 0 && counters.rx_packets == counters.tx_packets && counters.rx_bytes == counters.tx_bytes;
        }
        if (message->nlmsg_type == RTM_NEWLINK && is_loopback && one->rta_type == IFLA_STATS) {
            struct rtnl_link_stats *counters = RTA_DATA(one);
            narrow += counters->rx_packets > 0 && counters->rx_packets == counters->tx_packets && counters->tx_errors == 0;
        }
        struct in_addr *address = RTA_DATA(one);
        if (message->nlmsg_type == RTM_NEWADDR && one->rta_type == IFA_LOCAL && one->rta_len == RTA_LENGTH(4))
            local_addresses += ntohl(address->s_addr) == INADDR_LOOPBACK;
        left -= RTA_ALIGN(one->rta_len);
        at += RTA_ALIGN(one->rta_len);
    }
}

static void dump(int type, size_t fixed) {
    static char buffer[1 << 16] __attribute__((aligned(8)));
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{sizeof request, type, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_INET}};
    if (type == RTM_GETLINK)
        request.body.rtgen_family = AF_UNSPEC;
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    NEED(fd >= 0 && send(fd, &request, sizeof request, 0) == sizeof request);
    for (bool done = false; !done;) {
        ssize_t len = recv(fd, buffer, sizeof buffer, 0);
        NEED(len > 0);
        struct nlmsghdr *message = (struct nlmsghdr *)buffer;
        for (; NLMSG_OK(message, len) && !done; message = NLMSG_NEXT(message, len)) {
            NEED(message->nlmsg_type != NLMSG_ERROR);
            done = message->nlmsg_type == NLMSG_DONE;
            if (!done)
                look(message, fixed);
        }
    }
    close(fd);
}

int main(void) {
    // Something for the counters.
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0 && sendto(fd, "counted", 7, 0, (struct sockaddr *)&a, sizeof a) == 7);
    NEED(close(fd) == 0);
    dump(RTM_GETLINK, sizeof(struct ifinfomsg));
    dump(RTM_GETADDR, sizeof(struct ifaddrmsg));
    dump(RTM_GETROUTE, sizeof(struct rtmsg));
    SHOW(misfits);
    SHOW(loopbacks);
    SHOW(local_addresses);
    SHOW(wide);
    SHOW(narrow);
    DONE();
}
