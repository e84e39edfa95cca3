// The auxiliary vector tells what libc and programs rely on.
#include "t.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

int main(int argc, char **argv) {
    (void)argc;
    SHOW(getauxval(AT_PAGESZ));
    SHOW(getauxval(AT_CLKTCK));
    SHOW(getauxval(AT_PHENT));
    SHOW(getauxval(AT_UID));
    SHOW(getauxval(AT_EUID));
    SHOW(getauxval(AT_GID));
    SHOW(getauxval(AT_EGID));
    SHOW(getauxval(AT_SECURE));
    CHECK(getauxval(AT_PHDR) != 0);
    CHECK(getauxval(AT_PHNUM) > 3);
    CHECK(getauxval(AT_ENTRY) != 0);
    CHECK(getauxval(AT_HWCAP) != 0);
    CHECK(getauxval(AT_BASE) != 0);
    struct utsname machine;
    NEED(uname(&machine) == 0);
    CHECK(strcmp((const char *)getauxval(AT_PLATFORM), machine.machine) == 0);
    const char *name = (const char *)getauxval(AT_EXECFN);
    CHECK(name && strcmp(strrchr(name, '/') + 1, strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0]) == 0);
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    int zeros = 0;
    for (int i = 0; i < 16; i++)
        zeros += random[i] == 0;
    CHECK(zeros < 8);
    const Elf64_Ehdr *vdso = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
    CHECK(vdso && memcmp(vdso->e_ident, ELFMAG, SELFMAG) == 0);
    CHECK(getauxval(AT_MINSIGSTKSZ) >= 1024);
    DONE();
}
