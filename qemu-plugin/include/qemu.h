/*
 * qemu.h: what the plugins of this project use of the API for QEMU's plugins, as include/qemu/qemu-plugin.h of QEMU 7.2
 * declares it. Distributions do not package that header.
 *
 * Version 1 of the API (QEMU 6.0 to 8.2) has all of it. From version 2 on (QEMU 9.0),
 * qemu_plugin_register_vcpu_tb_exec_inline is not there any more, and qemu_plugin_insn_data is another function: plugins
 * that use neither run with both.
 */
#ifndef CORACLE_QEMU_H
#define CORACLE_QEMU_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef struct {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    struct { int smp_vcpus, max_vcpus; } system;
} qemu_info_t;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned int, void *),
                                          enum qemu_plugin_cb_flags flags, void *userdata);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op, void *ptr,
                                              uint64_t imm);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

/* What a plugin says that it was made for. QEMU reads it once the plugin is loaded, and refuses what it does not have. */
EXPORT int qemu_plugin_version = 1;

/* A function that version 2 has brought. */
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size) __attribute__((weak));

__attribute__((constructor)) static void choose_version(void)
{
    if (qemu_plugin_scoreboard_new) {
        qemu_plugin_version = 2;
    }
}

/* Maps the file that a plugin shares with its reader, at least `size` bytes long; `flags` are more of open(2)'s. NULL: it
 * said why on stderr. */
static inline void *map_shared(const char *path, size_t size, int flags)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        perror(path);
        return NULL;
    }
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED) {
        perror(path);
        return NULL;
    }
    return shared;
}

#endif
