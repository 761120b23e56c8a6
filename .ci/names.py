"""A DNS server on 127.0.0.1 that knows one name.

usage: python3 .ci/names.py NAME ADDRESS

It answers a question for an IPv4 address of NAME with ADDRESS, says of any other
type that there is none, and of any other name that it does not exist.
"""

import socket
import struct
import sys


def question(packet):
    """The name that is asked for, the type, and where the question ends."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    (kind,) = struct.unpack_from("!H", packet, at + 1)
    return ".".join(labels).lower(), kind, at + 5


def answer(packet, name, address):
    asked, kind, end = question(packet)
    known, found = asked == name, asked == name and kind == 1
    flags = 0x8580 if known else 0x8583
    head = packet[:2] + struct.pack("!HHHHH", flags, 1, 1 if found else 0, 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 30, 4) + socket.inet_aton(address)
    return head + packet[12:end] + (record if found else b"")


def main():
    _, name, address = sys.argv
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        packet, client = server.recvfrom(512)
        try:
            server.sendto(answer(packet, name, address), client)
        except (IndexError, UnicodeDecodeError, struct.error):
            pass  # What cannot be read has no answer.


main()
