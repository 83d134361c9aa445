# SPDX-License-Identifier: GPL-2.0-or-later
"""A qcow2 image as years of use leave it: clusters all over the disk, in the order in which they were written. Its tables are made
here, and its data is a hole: making it with writes would take minutes. Called by images.py."""
import random
import struct

CLUSTER = 65536
ENTRIES = CLUSTER // 8  # of an L2 table
COUNTS = CLUSTER // 2  # of a refcount block
COPIED = 1 << 63


def lay_out(places):
    """Clusters of the file in the order of the writes: L2 tables by index, and each place's data; the next free one."""
    tables, data, free = {}, {}, 3  # header, L1, refcount table
    for place in places:
        if place // ENTRIES not in tables:
            tables[place // ENTRIES] = free
            free += 1
        data[place] = free
        free += 1
    return tables, data, free


def write_tables(file, size, tables, data, free):
    blocks = list(range(free, free + -(-(free + 16) // COUNTS)))
    free += len(blocks)
    file.truncate(free * CLUSTER)
    n = size // CLUSTER // ENTRIES
    file.write(struct.pack('>4sIQIIQIIQQIIQ QQQII', b'QFI\xfb', 3, 0, 0, 16, size, 0, n, CLUSTER, 2 * CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104))
    file.seek(CLUSTER)
    file.write(struct.pack(f'>{n}Q', *(tables[i] * CLUSTER | COPIED if i in tables else 0 for i in range(n))))
    file.seek(2 * CLUSTER)
    file.write(struct.pack(f'>{len(blocks)}Q', *(block * CLUSTER for block in blocks)))
    for i, block in enumerate(blocks):
        file.seek(block * CLUSTER)
        file.write(struct.pack('>H', 1) * min(COUNTS, free - i * COUNTS))
    for i, table in tables.items():
        file.seek(table * CLUSTER)
        file.write(struct.pack(f'>{ENTRIES}Q', *(data[k] * CLUSTER | COPIED if k in data else 0 for k in range(i * ENTRIES, (i + 1) * ENTRIES))))


def make(path, size, allocated):
    """Both in bytes."""
    places = random.Random(1).sample(range(size // CLUSTER), allocated // CLUSTER)
    with open(path, 'wb') as file:
        write_tables(file, size, *lay_out(places))
