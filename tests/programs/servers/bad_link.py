"""A cable that loses, repeats, reorders and damages frames, between two tap devices that it makes.

Usage: bad_link.py DEVICE DEVICE. Prints "ready" when both are there. The same misfortune on every run.
"""
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP_WITHOUT_HEADER = 0x1002

LOST, REPEATED, DAMAGED, LATE = 0.03, 0.01, 0.01, 0.05
DELAY, LATENESS = 0.002, 0.010


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_WITHOUT_HEADER))
    return fd


def main():
    ends = [tap(name) for name in sys.argv[1:3]]
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    fate = random.Random(42)
    under_way = []  # (when, number, to, frame)
    number = 0
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, to, frame = heapq.heappop(under_way)
            try:
                os.write(to, frame)
            except OSError:
                pass  # The device is down, or its queue full: lost as on any cable.
        timeout = max(0, under_way[0][0] - now) if under_way else None
        for end in select.select(ends, [], [], timeout)[0]:
            frame = os.read(end, 65536)
            if fate.random() < LOST:
                continue
            if fate.random() < DAMAGED and len(frame) > 60:
                at = fate.randrange(34, len(frame))
                frame = frame[:at] + bytes([frame[at] ^ (1 << fate.randrange(8))]) + frame[at + 1 :]
            for _ in range(2 if fate.random() < REPEATED else 1):
                when = now + DELAY + (fate.random() * LATENESS if fate.random() < LATE else 0)
                heapq.heappush(under_way, (when, number, other[end], frame))
                number += 1


main()
