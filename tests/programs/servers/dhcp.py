"""A DHCP server (RFC 2131) that has one address to give. Usage: dhcp.py DEVICE OWN-ADDRESS ADDRESS. Prints "ready"."""
import socket
import struct
import sys

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6


def options(data):
    found = {}
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found


def main():
    device, own, given = sys.argv[1], *map(socket.inet_aton, sys.argv[2:4])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    server.bind(("", 67))
    print("ready", flush=True)
    while True:
        packet = server.recv(2048)
        if len(packet) < 240 or packet[0] != 1 or packet[236:240] != COOKIE:
            continue
        asked = options(packet[240:])
        kind = asked.get(53, b"\0")[0]
        if kind == DISCOVER:
            answer = OFFER
        elif kind == REQUEST:
            wanted = asked.get(50, packet[12:16])
            if asked.get(54, own) != own:
                continue
            answer = ACK if wanted == given else NAK
        else:
            continue
        head = struct.pack("!BBBB4sHH4s4s4s4s", 2, 1, 6, 0, packet[4:8], 0, 0x8000, bytes(4),
                           given if answer != NAK else bytes(4), own, bytes(4))
        reply = head + packet[28:44] + bytes(192) + COOKIE
        for code, value in ((53, bytes([answer])), (54, own), (51, struct.pack("!I", 3600)),
                            (1, bytes([255, 255, 255, 0])), (3, own), (6, own)):
            reply += bytes([code, len(value)]) + value
        server.sendto(reply + b"\xff" + bytes(20), ("255.255.255.255", 68))


main()
