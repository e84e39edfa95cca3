"""Runs modules of CPython's tests one after the other, each as `python3.11 -m test MODULE` in a process of its own with a time limit.

Usage: drive.py LIMIT < MODULES

Everything the modules say goes to standard output, between a line `@@ begin MODULE` and a line `@@ end MODULE STATUS SECONDS`.
STATUS is the exit status, `timeout`, or `-N` for a signal. This process is the first of its machine (or of its PID namespace):
after a module it kills all that the module left behind.

The processes are forked from this one, which has imported what the runner of the tests needs: that takes longer than most modules,
where the CPU is emulated.
"""
import os
import runpy
import shutil
import signal
import sys
import time

import test.libregrtest  # For the processes to come.

SCRATCH = "/tmp/cpython"
# The runner has a limit of its own, at which it shows where all threads are.
GRACE = 30


def run(module, limit):
    """What a module's process does: it becomes `python3.11 -m test`."""
    os.setsid()
    os.chdir(SCRATCH)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(1, 2)
    sys.path[0] = SCRATCH
    sys.argv = ["test", "-v", "--tempdir", SCRATCH, "--timeout", str(limit), module]
    runpy.run_module("test", run_name="__main__", alter_sys=True)


def wait(pid, limit):
    """A process's status, in words."""
    end = time.monotonic() + limit
    # Other children of the first process are orphans. The alarm wakes it.
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL) if time.monotonic() >= end else None)
    signal.setitimer(signal.ITIMER_REAL, limit, 1)
    while True:
        found, status = os.waitpid(-1, 0)
        if found == pid:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            return "timeout" if time.monotonic() >= end else str(os.waitstatus_to_exitcode(status))


def kill_the_rest():
    """Kills and reaps every other process."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def main():
    limit = float(sys.argv[1])
    for module in sys.stdin.read().split():
        shutil.rmtree(SCRATCH, ignore_errors=True)
        os.mkdir(SCRATCH)
        print(f"@@ begin {module}", flush=True)
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            run(module, limit)
            os._exit(0)
        status = wait(pid, limit + GRACE)
        kill_the_rest()
        print(f"\n@@ end {module} {status} {time.monotonic() - start:.1f}", flush=True)


if __name__ == "__main__":
    main()
