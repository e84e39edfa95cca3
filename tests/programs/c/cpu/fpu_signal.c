// Floating-point control and registers are saved for a handler, start clean in it, and come back after.
// flags: -lm
// arch: x86-64
#include "t.h"
#include <fenv.h>
#include <math.h>

static volatile double in_handler;
static void handler(int signal) {
    (void)signal;
    in_handler = sin(1.0) + 1.0 / 3.0;
    fesetround(FE_UPWARD);
    feraiseexcept(FE_INEXACT);
}
static void floating_point_error(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    printf("SIGFPE code %d\n", info->si_code);
    _exit(5);
}

int main(void) {
    signal(SIGUSR1, handler);
    SHOW(fesetround(FE_DOWNWARD));
    double x = 2.0 / 3.0, y = sqrt(2.0);
    raise(SIGUSR1);
    SHOW(fegetround() == FE_DOWNWARD);
    printf("%.17g %.17g %.17g\n", x, y, in_handler);
    printf("%.17g\n", 2.0 / 3.0);
    long double e = expl(1.0L);
    raise(SIGUSR1);
    printf("%.20Lg\n", e);
    SHOW(fesetround(FE_TONEAREST));
    struct sigaction action = {.sa_sigaction = floating_point_error, .sa_flags = SA_SIGINFO};
    sigaction(SIGFPE, &action, NULL);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_DIVBYZERO);
    // The x87 unit: QEMU does not trap for SSE.
    volatile long double zero = 0.0L;
    long double infinite = 1.0L / zero;
    asm volatile("fwait" : "+t"(infinite));
    printf("%Lg\n", infinite);
    return 0;
}
