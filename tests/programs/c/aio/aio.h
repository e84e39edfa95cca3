// The calls of native asynchronous input and output (io_setup(2)), for which the C library has no wrappers.
#ifndef AIO_H
#define AIO_H
#include "../t.h"
#include <linux/aio_abi.h>

static int setup(unsigned count, aio_context_t *context) { return syscall(SYS_io_setup, count, context); }
static int destroy(aio_context_t context) { return syscall(SYS_io_destroy, context); }
static int submit(aio_context_t context, long count, struct iocb **requests) {
    return syscall(SYS_io_submit, context, count, requests);
}
static int events(aio_context_t context, long least, long most, struct io_event *events, struct timespec *timeout) {
    return syscall(SYS_io_getevents, context, least, most, events, timeout);
}

static struct iocb request(int operation, int fd, void *bytes, size_t len, long offset) {
    struct iocb request = {.aio_data = 7, .aio_lio_opcode = operation, .aio_fildes = fd, .aio_buf = (uintptr_t)bytes,
                           .aio_nbytes = len, .aio_offset = offset};
    return request;
}
#endif
