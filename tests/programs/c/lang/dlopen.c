// dlopen loads a library at run time: its functions, data, constructors, thread-locals, and dlclose.
// plugin: plugin.c
// data: yes
// demand: also
#include "t.h"
#include <dlfcn.h>

int main(void) {
    void *library = dlopen(data_file("plugin.so"), RTLD_NOW);
    if (!library) {
        puts(dlerror());
        return 1;
    }
    int (*add)(int, int) = (int (*)(int, int))dlsym(library, "plugin_add");
    int *counter = dlsym(library, "plugin_counter");
    int (*local)(void) = (int (*)(void))dlsym(library, "plugin_thread_local");
    SHOW(add(40, 2));
    SHOW(*counter);
    SHOW(local());
    SHOW(dlsym(library, "absent") == NULL);
    Dl_info info;
    SHOW(dladdr((void *)(uintptr_t)add, &info) != 0);
    puts(info.dli_sname);
    SHOW(dlclose(library));
    SHOW(dlopen("/nowhere/lib.so", RTLD_NOW) == NULL);
    CHECK(dlsym(RTLD_DEFAULT, "printf") != NULL);
    DONE();
}
