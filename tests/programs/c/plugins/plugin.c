// The library that lang/dlopen.c loads.
#include <stdio.h>

int plugin_counter = 1;
static __thread int thread_local_value = 9;

__attribute__((constructor)) static void constructor(void) {
    puts("constructor");
    plugin_counter = 7;
}
__attribute__((destructor)) static void destructor(void) { puts("destructor"); }

int plugin_add(int a, int b) { return a + b; }
int plugin_thread_local(void) { return thread_local_value++; }
