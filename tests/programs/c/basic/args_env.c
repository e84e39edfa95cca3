// Arguments and environment arrive unchanged, the odd ones too.
// args: plain "two words" "" %41%% --flag=x,y "quote'd" "a\\b" "naïve ☃"
// env: GREETING=hello world
// env: EMPTY=
// env: EQUALS=a=b=c
#include "t.h"

int main(int argc, char **argv, char **envp) {
    SHOW(argc);
    for (int i = 1; i < argc; i++)
        printf("argv[%d] = <%s>\n", i, argv[i]);
    CHECK(argv[argc] == NULL);
    const char *names[] = {"GREETING", "EMPTY", "EQUALS", "ABSENT"};
    for (size_t i = 0; i < 4; i++) {
        const char *value = getenv(names[i]);
        printf("%s = %s%s%s\n", names[i], value ? "<" : "", value ? value : "unset", value ? ">" : "");
    }
    SHOW(setenv("ABSENT", "now", 1));
    printf("%s\n", getenv("ABSENT"));
    CHECK(envp != NULL);
    return 0;
}
