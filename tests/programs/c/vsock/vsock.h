// What the programs about AF_VSOCK share.
#ifndef VSOCK_H
#define VSOCK_H

#include "net.h"
#include <linux/vm_sockets.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static struct sockaddr_vm vm(unsigned cid, unsigned port) {
    return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

static int vm_bind(int fd, unsigned cid, unsigned port) {
    struct sockaddr_vm a = vm(cid, port);
    return bind(fd, ADDR(a));
}

static int vm_connect(int fd, unsigned cid, unsigned port) {
    struct sockaddr_vm a = vm(cid, port);
    return connect(fd, ADDR(a));
}

__attribute__((unused)) static struct sockaddr_vm vm_name(int fd) {
    struct sockaddr_vm a;
    socklen_t length = sizeof a;
    NEED(getsockname(fd, (struct sockaddr *)&a, &length) == 0 && length == sizeof a);
    return a;
}

static int vm_socket(int type) {
    int fd = socket(AF_VSOCK, type, 0);
    NEED(fd >= 0);
    return fd;
}

__attribute__((unused)) static int vm_listener(int type, int backlog, unsigned *port) {
    int fd = vm_socket(type);
    NEED(vm_bind(fd, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0 && listen(fd, backlog) == 0);
    *port = vm_name(fd).svm_port;
    return fd;
}

// fd[0] is connected to fd[1], by way of a listener that is closed again.
__attribute__((unused)) static void vm_pair(int type, int fd[2]) {
    unsigned port;
    int listener = vm_listener(type, 1, &port);
    fd[0] = vm_socket(type);
    NEED(vm_connect(fd[0], VMADDR_CID_LOCAL, port) == 0);
    fd[1] = accept(listener, NULL, NULL);
    NEED(fd[1] >= 0);
    close(listener);
}

__attribute__((unused)) static void vm_close(int fd[2]) {
    close(fd[0]);
    close(fd[1]);
}

// Whether a call failed with an error.
#define FAILS(call, error) CHECK((errno = 0, (call) == -1) && errno == (error))

#endif
