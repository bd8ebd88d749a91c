#!/usr/bin/env python3
"""In the place of your DNS server: SRV records of one name, which are the lines of a file, and the address of the host that they name.

    dns-server.py RECORDS

Each line is `priority weight port`. The file is read whenever somebody asks."""
import socket
import struct
import sys

NAME, HOST = "_shop._tcp.example.test", "host.example.test"
A, SRV = 1, 33
SECONDS = 1


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def records(name, kind):
    if (name, kind) == (HOST, A):
        yield socket.inet_aton("127.0.0.1")
    if (name, kind) == (NAME, SRV):
        with open(sys.argv[1]) as file:
            for line in filter(str.strip, file):
                yield struct.pack("!HHH", *map(int, line.split())) + encoded(HOST)


def answer(question):
    at, labels = 12, []
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
        at += 1 + question[at]
    (kind,) = struct.unpack_from("!H", question, at + 1)
    name = ".".join(labels)
    found = [b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, SECONDS, len(data)) + data for data in records(name, kind)]
    code = 0 if name in (NAME, HOST) else 3
    head = question[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(found), 0, 0)
    return head + question[12 : at + 5] + b"".join(found)


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5300))
while True:
    question, client = server.recvfrom(512)
    server.sendto(answer(question), client)
