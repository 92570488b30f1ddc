#!/usr/bin/env python3
"""A second reader and writer of LTX files, written from the format's description alone.

ltx.py encode DB OUT TXID          a database file as a full LTX file
ltx.py dump FILE                   header, pages and trailer; every checksum and length verified
ltx.py apply OUT FILE...           the database that the files make, one after the other

It shares no line with helpers/format: where the two disagree, one of them is wrong. Slow on purpose
(bytewise CRC, LZ4 blocks of literals only): for small databases in tests.
"""

import struct
import sys

HEADER = struct.Struct(">4sIIIQQQQQQIIQ")
FLAG = 1 << 63


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0xD800000000000000 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc_table()


def crc64(data, crc=0):
    """CRC-64/ISO, as Go's hash/crc64 computes it; crc: the value so far."""
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def page_checksum(pgno, page):
    return crc64(struct.pack(">I", pgno) + page) | FLAG


def uvarint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_uvarint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return n, at


def lz4_literals(data):
    """A valid LZ4 block: one sequence of literals, no match."""
    n = len(data)
    if n < 15:
        return bytes([n << 4]) + data
    out = bytearray([0xF0])
    n -= 15
    while n >= 255:
        out.append(255)
        n -= 255
    out.append(n)
    return bytes(out) + data


def lz4_block(data, size):
    """Decompresses an LZ4 block of `size` bytes."""
    out = bytearray()
    at = 0

    def length(n):
        nonlocal at
        if n == 15:
            while True:
                byte = data[at]
                at += 1
                n += byte
                if byte != 255:
                    break
        return n

    while at < len(data):
        token = data[at]
        at += 1
        n = length(token >> 4)
        out += data[at : at + n]
        at += n
        if at >= len(data):
            break
        back = data[at] | data[at + 1] << 8
        at += 2
        n = length(token & 15) + 4
        if back == 0 or back > len(out):
            raise ValueError("LZ4 match before the start")
        for _ in range(n):
            out.append(out[-back])
    if len(out) != size:
        raise ValueError(f"LZ4 block of {len(out)} bytes, not {size}")
    return bytes(out)


def encode(path, out_path, txid):
    with open(path, "rb") as f:
        db = f.read()
    size = struct.unpack(">H", db[16:18])[0]
    size = 65536 if size == 1 else size
    commit = len(db) // size
    lock = 0x40000000 // size + 1
    pages = [(n, db[(n - 1) * size : n * size]) for n in range(1, commit + 1) if n != lock]
    after = 0
    for n, page in pages:
        after ^= page_checksum(n, page)
    head = HEADER.pack(
        b"LTX1", 2, size, commit, txid, txid, 1700000000000 + txid, 0, 32, 0, 0, 0, 0xABCDEF
    ) + b"DLS1" + struct.pack(">QQ", 0, after | FLAG)
    out = bytearray(head)
    crc = crc64(head)
    index = bytearray()
    for n, page in pages:
        block = lz4_literals(page)
        prefix = struct.pack(">IHI", n, 1, len(block))
        index += uvarint(n) + uvarint(len(out)) + uvarint(len(prefix) + len(block))
        out += prefix + block
        crc = crc64(prefix + page, crc)
    index += uvarint(0)
    tail = bytes(6) + index + struct.pack(">Q", len(index)) + bytes(8)
    out += tail + struct.pack(">Q", crc64(tail, crc) | FLAG)
    with open(out_path, "wb") as f:
        f.write(out)


def decode(path):
    """(header dict, {pgno: page}); raises ValueError for anything that isn't right."""
    with open(path, "rb") as f:
        data = f.read()
    names = "magic flags size commit min max ms pre wal_offset wal_size salt1 salt2 node".split()
    head = dict(zip(names, HEADER.unpack(data[:80])))
    head["mark"], head["before"], head["after"] = struct.unpack(">4sQQ", data[80:100])
    if head["magic"] != b"LTX1":
        raise ValueError("no LTX1")
    crc, at, pages, index, last = crc64(data[:100]), 100, {}, [], 0
    while True:
        pgno, flags = struct.unpack(">IH", data[at : at + 6])
        if pgno == 0:
            break
        if flags != 1:
            raise ValueError(f"page {pgno}: flags {flags}, this reader knows the block form only")
        n = struct.unpack(">I", data[at + 6 : at + 10])[0]
        page = lz4_block(data[at + 10 : at + 10 + n], head["size"])
        if pgno <= last or pgno > head["commit"] or pgno == 0x40000000 // head["size"] + 1:
            raise ValueError(f"page {pgno} after {last} of {head['commit']}")
        crc = crc64(data[at : at + 10] + page, crc)
        index.append((pgno, at, n + 10))
        pages[pgno], last = page, pgno
        at += n + 10
    check_tail(data, at, crc, index)
    return head, pages


def check_tail(data, at, crc, index):
    start, entries = at + 6, []
    pos = start
    while True:
        pgno, pos = read_uvarint(data, pos)
        if pgno == 0:
            break
        offset, pos = read_uvarint(data, pos)
        size, pos = read_uvarint(data, pos)
        entries.append((pgno, offset, size))
    if entries != index:
        raise ValueError("the page index does not name the pages")
    if struct.unpack(">Q", data[pos : pos + 8])[0] != pos - start or len(data) != pos + 24:
        raise ValueError("wrong length of the page index or of the file")
    if struct.unpack(">Q", data[pos + 16 :])[0] != crc64(data[at : pos + 16], crc) | FLAG:
        raise ValueError("wrong file checksum")


def dump(path):
    head, pages = decode(path)
    numbers = ",".join(map(str, list(pages)[:20])) + (",…" if len(pages) > 20 else "")
    print(
        f"{head['min']:016x}-{head['max']:016x} size {head['size']} commit {head['commit']}"
        f" node {head['node']:016x} mark {head['mark'].decode('ascii', 'replace')!r}"
        f" before {head['before']:016x} after {head['after']:016x} pages {numbers}"
    )


def apply(out_path, paths):
    pages, head = {}, None
    for path in paths:
        head, more = decode(path)
        pages.update(more)
        pages = {n: page for n, page in pages.items() if n <= head["commit"]}
        total = 0
        for n, page in pages.items():
            total ^= page_checksum(n, page)
        if head["after"] and head["after"] != total | FLAG:
            raise ValueError(f"{path}: the database has checksum {total | FLAG:016x}")
    lock = 0x40000000 // head["size"] + 1
    with open(out_path, "wb") as f:
        for n in range(1, head["commit"] + 1):
            f.write(bytes(head["size"]) if n == lock else pages[n])


def main(argv):
    if len(argv) == 4 and argv[0] == "encode":
        encode(argv[1], argv[2], int(argv[3], 16))
    elif len(argv) == 2 and argv[0] == "dump":
        dump(argv[1])
    elif len(argv) >= 3 and argv[0] == "apply":
        apply(argv[1], argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, OSError, IndexError, struct.error) as e:
        sys.exit(f"ltx.py: {e}")
