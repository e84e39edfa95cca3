// AF_VSOCK sockets that are not connected: their types, addresses and options (vsock(7)). There is no device, and CID 1 is there without.
// linux: no
#include "vsock.h"

static unsigned long long size_of(int fd, int name) {
    unsigned long long value = 0;
    socklen_t length = sizeof value;
    CHECK(getsockopt(fd, AF_VSOCK, name, &value, &length) == 0 && length == sizeof value);
    return value;
}

static int set_size(int fd, int name, unsigned long long value) {
    return setsockopt(fd, AF_VSOCK, name, &value, sizeof value);
}

static void types(void) {
    int both[2];
    FAILS(socket(AF_VSOCK, SOCK_DGRAM, 0), ENODEV);
    FAILS(socket(AF_VSOCK, SOCK_RAW, 0), ESOCKTNOSUPPORT);
    FAILS(socket(AF_VSOCK, SOCK_STREAM, 1), EPROTONOSUPPORT);
    FAILS(socketpair(AF_VSOCK, SOCK_STREAM, 0, both), EOPNOTSUPP);
    int fd = socket(AF_VSOCK, SOCK_SEQPACKET | SOCK_CLOEXEC, AF_VSOCK);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    int value = 0;
    socklen_t length = sizeof value;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length) == 0 && value == SOCK_SEQPACKET);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &length) == 0 && value == AF_VSOCK);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length) == 0 && value == 0);
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode));
    close(fd);
}

static void addresses(void) {
    int a = vm_socket(SOCK_STREAM), b = vm_socket(SOCK_STREAM);
    CHECK(vm_name(a).svm_cid == VMADDR_CID_ANY && vm_name(a).svm_port == VMADDR_PORT_ANY);
    struct sockaddr_vm odd = vm(VMADDR_CID_ANY, 5000);
    FAILS(bind(a, (struct sockaddr *)&odd, sizeof odd - 1), EINVAL);
    odd.svm_family = AF_INET;
    FAILS(bind(a, ADDR(odd)), EINVAL);
    FAILS(listen(a, 1), EINVAL);
    FAILS(vm_bind(a, 77, 5000), EADDRNOTAVAIL);
    CHECK(vm_bind(a, VMADDR_CID_ANY, 5000) == 0);
    CHECK(vm_name(a).svm_cid == VMADDR_CID_ANY && vm_name(a).svm_port == 5000);
    FAILS(vm_bind(a, VMADDR_CID_ANY, 5001), EINVAL);
    FAILS(vm_bind(b, VMADDR_CID_ANY, 5000), EADDRINUSE);
    FAILS(vm_bind(b, VMADDR_CID_LOCAL, 5000), EADDRINUSE);
    CHECK(vm_bind(b, VMADDR_CID_LOCAL, 5001) == 0);
    close(a);
    a = vm_socket(SOCK_SEQPACKET);
    FAILS(vm_bind(a, VMADDR_CID_ANY, 5001), EADDRINUSE);
    CHECK(vm_bind(a, VMADDR_CID_ANY, 5000) == 0);
    close(b);
    b = vm_socket(SOCK_STREAM);
    CHECK(vm_bind(b, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0 && vm_name(b).svm_port > 1023);
    close(a);
    close(b);
    // Ports up to 1023 are for those who may have them.
    NEED(seteuid(65534) == 0);
    a = vm_socket(SOCK_STREAM);
    FAILS(vm_bind(a, VMADDR_CID_ANY, 1023), EACCES);
    CHECK(vm_bind(a, VMADDR_CID_ANY, 1024) == 0);
    close(a);
    NEED(seteuid(0) == 0);
    a = vm_socket(SOCK_STREAM);
    CHECK(vm_bind(a, VMADDR_CID_ANY, 0) == 0);
    close(a);
}

static void options(void) {
    int fd = vm_socket(SOCK_STREAM);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 256 << 10);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE) == 128);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE) == 256 << 10);
    CHECK(set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1 << 20) == 0);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 256 << 10);
    CHECK(set_size(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE, 1 << 20) == 0);
    CHECK(set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1 << 19) == 0);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 1 << 19);
    CHECK(set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1) == 0);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 128);
    CHECK(set_size(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE, 4096) == 0);
    CHECK(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 4096);
    int small = 1;
    FAILS(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &small, sizeof small), EINVAL);
    socklen_t length = sizeof small;
    FAILS(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &small, &length), EINVAL);
    FAILS(setsockopt(fd, AF_VSOCK, 99, &small, sizeof small), ENOPROTOOPT);
    FAILS(setsockopt(fd, IPPROTO_TCP, 1, &small, sizeof small), ENOPROTOOPT);
    struct timeval time = {0};
    length = sizeof time;
    CHECK(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, &length) == 0);
    CHECK(time.tv_sec == 2 && time.tv_usec == 0);
    time = (struct timeval){7, 500000};
    CHECK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof time) == 0);
    time = (struct timeval){0, 1000000};
    FAILS(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof time), ERANGE);
    CHECK(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, &length) == 0);
    CHECK(time.tv_sec == 7 && time.tv_usec == 500000);
    close(fd);
}

static void unconnected(void) {
    char byte;
    struct sockaddr_vm a;
    socklen_t length = sizeof a;
    for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_STREAM) {
        int fd = vm_socket(type);
        FAILS(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
        FAILS(recv(fd, &byte, 1, 0), ENOTCONN);
        FAILS(shutdown(fd, SHUT_RDWR), ENOTCONN);
        FAILS(shutdown(fd, 9), EINVAL);
        FAILS(getpeername(fd, (struct sockaddr *)&a, &length), ENOTCONN);
        FAILS(accept(fd, NULL, NULL), EINVAL);
        // There is no device, so that other machines are out of reach.
        FAILS(vm_connect(fd, 77, 5000), ENODEV);
        struct sockaddr none = {.sa_family = AF_UNSPEC};
        FAILS(connect(fd, &none, sizeof none), EINVAL);
        CHECK(events_of(fd, POLLIN | POLLOUT, 0) == POLLOUT);
        FAILS(vm_connect(fd, VMADDR_CID_LOCAL, 5000), ECONNRESET);
        CHECK(vm_bind(fd, VMADDR_CID_ANY, 5000) == -1 && errno == EINVAL);
        CHECK(listen(fd, 1) == 0);
        CHECK(events_of(fd, POLLIN | POLLOUT, 0) == 0);
        FAILS(vm_connect(fd, VMADDR_CID_LOCAL, 5000), EINVAL);
        FAILS(accept4(fd, NULL, NULL, SOCK_NONBLOCK | 1), EINVAL);
        CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        FAILS(accept(fd, NULL, NULL), EAGAIN);
        close(fd);
    }
}

int main(void) {
    types();
    addresses();
    options();
    unconnected();
    int fd = open("/dev/vsock", O_RDONLY);
    unsigned cid = 0;
    CHECK(fd >= 0 && ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0 && cid == VMADDR_CID_LOCAL);
    FAILS(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, NULL), EFAULT);
    FAILS(ioctl(fd, FIONREAD, &cid), ENOTTY);
    DONE();
}
