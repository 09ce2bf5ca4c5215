"""Plate archives that mean harm: bombs, members that overlap, lie outside or are not what they say."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np

MEMBER = "A01_s1_c0_z0.tif"


def archive(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def raw_zip(entries: list[tuple[str, int, int, int, int]], body: bytes, *, method: int = 8) -> bytes:
    """A zip whose directory says whatever it likes. entries: (name, offset, packed size, unpacked size, CRC) over one body."""
    directory = b"".join(
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, method, 0, 0, crc, packed, size, len(name), 0, 0, 0, 0,
                    0o100644 << 16, at) + name.encode() for name, at, packed, size, crc in entries)
    count = min(len(entries), 0xFFFF)
    return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)


def local_header(name: str, packed: bytes, size: int, crc: int, *, method: int = 8) -> bytes:
    """A member as it lies in a zip."""
    return struct.pack("<4s2B4HL2L2H", b"PK\3\4", 20, 0, 0, method, 0, 0, crc, len(packed), size, len(name), 0) + name.encode() + packed


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def member_names(count: int) -> list[str]:
    """As many different names of images."""
    return [f"A{1 + number % 12:02d}_s{1 + number // 12}_c0_z0.tif" for number in range(count)]


def link() -> bytes:
    """A member that is a symbolic link to a file of the machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo(MEMBER)
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def bomb(megabytes: int = 250) -> bytes:
    """One member of zeros."""
    return archive({MEMBER: bytes(megabytes * 2**20)})


def lying_sizes(megabytes: int = 250) -> bytes:
    """A bomb that declares 1,000 bytes."""
    packed = deflated(bytes(megabytes * 2**20))
    return raw_zip([(MEMBER, 0, len(packed), 1000, 0)], local_header(MEMBER, packed, 1000, 0))


def overlapping(count: int = 400) -> bytes:
    """Hundreds of members that are all the same 200 kB, and unpack to 18 MB each."""
    data = np.random.default_rng(0).integers(0, 256, 180_000, dtype=np.uint8).tobytes() + bytes(18 * 2**20)
    packed, crc = deflated(data), zlib.crc32(data)
    names = member_names(count)
    return raw_zip([(name, 0, len(packed), len(data), crc) for name in names], local_header(names[0], packed, len(data), crc))


def many_entries(count: int = 700_000) -> bytes:
    """A directory of more members than a plate can have, each empty."""
    return raw_zip([(f"A01_s{number}_c0_z0.tif", 0, 0, 0, 0) for number in range(count)], local_header(MEMBER, b"", 0, 0))


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "zip slip": lambda: archive({"../../../tmp/" + MEMBER: b"x"}),
    "absolute path": lambda: archive({"/tmp/" + MEMBER: b"x"}),
    "symbolic link": link,
    "bomb of 250 MB": bomb,
    "bomb in a zip in a zip": lambda: archive({MEMBER: archive({MEMBER: archive({MEMBER: bytes(2**24)})})}),
    "declares 1 kB, unpacks to 250 MB": lying_sizes,
    "400 members of 18 MB that overlap": overlapping,
    "700,000 members": many_entries,
    "bomb of bzip2 that declares 1 kB": lambda: archive({MEMBER: bytes(2**26)}, method=zipfile.ZIP_BZIP2).replace(
        struct.pack("<I", 2**26), struct.pack("<I", 1_000)),
    "LZMA bomb": lambda: archive({MEMBER: bytes(30 * 2**20)}, method=zipfile.ZIP_LZMA),
}
"""Plate archives, by what is wrong with them."""
