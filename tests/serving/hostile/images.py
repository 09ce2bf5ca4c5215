"""Images that mean harm: TIFF, PNG and JPEG whose headers, pages or metadata stand for gigabytes or hours."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

Tags = Mapping[int, tuple[int, bytes]]      # tag -> (type, its values as bytes)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 16: 8}    # bytes of a value: BYTE, ASCII, SHORT, LONG, LONG8


def tiff(tags: Tags, data: bytes = b"", *, following: int = 0) -> bytes:
    """A TIFF of one page with these tags; `data` lies at offset 8. following: where the next page is said to lie."""
    start, outside, entries = 8 + len(data), b"", b""
    behind = start + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        count = len(values) // _SIZES[kind]
        place = values.ljust(4, b"\0") if len(values) <= 4 else struct.pack("<I", behind + len(outside))
        outside += values if len(values) > 4 else b""
        entries += struct.pack("<HHI", tag, kind, count) + place
    return (b"II*\0" + struct.pack("<I", start) + data + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + outside)


def shorts(*values: int) -> tuple[int, bytes]:
    return 3, struct.pack(f"<{len(values)}H", *values)


def longs(*values: int) -> tuple[int, bytes]:
    return 4, struct.pack(f"<{len(values)}I", *values)


def grey_page(width: int, height: int, *, at: int = 8, size: int = 0, compression: int = 1,
              description: str = "") -> dict[int, tuple[int, bytes]]:
    """Tags of a grey 8-bit page in one strip."""
    tags = {256: longs(width), 257: longs(height), 258: shorts(8), 259: shorts(compression), 262: shorts(1), 273: longs(at),
            277: shorts(1), 278: longs(height), 279: longs(size)}
    return tags | ({270: (2, description.encode() + b"\0")} if description else {})


def shared_strip(pages: int = 2000, side: int = 1000) -> bytes:
    """A megabyte that two thousand pages claim as theirs."""
    data = bytes(side * side)
    tags = grey_page(side, side, size=len(data))
    length = 2 + 12 * len(tags) + 4
    first, out = 8 + len(data), b""
    for number in range(pages):
        following = first + (number + 1) * length if number + 1 < pages else 0
        out += tiff(tags, following=following)[8:]
    return b"II*\0" + struct.pack("<I", first) + data + out


def ring(side: int = 64) -> bytes:
    """A page whose next page is itself."""
    data = bytes(side * side)
    return tiff(grey_page(side, side, size=len(data)), data, following=8 + len(data))


def ome(sizes: str, *, side: int = 16, before: str = "", after: str = "", entry: str = "") -> bytes:
    """An OME-TIFF of one small page that says it is one of many."""
    xml = (f'<?xml version="1.0" encoding="UTF-8"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
           f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{side}" SizeY="{side}" {sizes}>'
           f'<TiffData {entry}/></Pixels></Image>{after}</OME>')
    return tiff(grey_page(side, side, size=side * side, description=xml), bytes(side * side))


def imagej(images: int) -> bytes:
    """A small page of ImageJ's with a billion behind it."""
    return tiff(grey_page(16, 16, size=256, description=f"ImageJ=1.53\nimages={images}\nslices={images}\n"), bytes(256))


def giant_tile(side: int = 60_000) -> bytes:
    """A small image in one tile that would fill the machine."""
    packed = zlib.compress(bytes(1000))
    tags = {256: longs(64), 257: longs(64), 258: shorts(8), 259: shorts(8), 262: shorts(1), 277: shorts(1), 322: longs(side),
            323: longs(side), 324: longs(8), 325: longs(len(packed))}
    return tiff(tags, packed)


def far_strips(count: int = 200_000) -> bytes:
    """As many strips, all of the same bytes, each said to be the whole file."""
    data = zlib.compress(bytes(2**20))
    tags = grey_page(64, count, compression=8) | {273: longs(*[8] * count), 278: longs(1), 279: longs(*[len(data)] * count)}
    return tiff(tags, data)


def tag_beyond() -> bytes:
    """A tag of four billion values."""
    data = bytearray(tiff(grey_page(16, 16, size=256, description="x" * 20), bytes(256)))
    at = data.index(struct.pack("<HH", 270, 2))
    data[at + 4:at + 8] = struct.pack("<I", 0xFFFFFFF0)
    return bytes(data)


def jpeg(width: int, height: int) -> bytes:
    """A JPEG that says it is so large, and holds eight pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def scans(count: int = 4000, side: int = 2000) -> bytes:
    """A progressive JPEG whose last scan comes thousands of times."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def jpeg_in_tiff(side: int = 65_000) -> bytes:
    """A TIFF of 64 pixels, whose strip is a JPEG of four billion."""
    data = jpeg(side, side)
    return tiff(grey_page(8, 8, size=len(data), compression=7), data)


def chunks(count: int = 100_000) -> bytes:
    """A PNG with empty chunks that mean nothing."""
    plain = png(8, 8)
    return plain[:33] + (bytes(4) + b"prIv" + struct.pack(">I", zlib.crc32(b"prIv"))) * count + plain[33:]


def with_others(data: bytes) -> bytes:
    """The JPEG as the first of a file of several (MPO), for which Pillow has another name."""
    buffer = io.BytesIO()
    small = Image.fromarray(np.zeros((8, 8), np.uint8))
    small.save(buffer, "MPO", save_all=True, append_images=[small])
    said = buffer.getvalue()
    at = said.index(b"\xff\xe2")
    return data[:2] + said[at:at + 2 + int.from_bytes(said[at + 2:at + 4], "big")] + data[2:]


def hidden_frame(side: int = 8_000) -> bytes:
    """A TIFF of 64 pixels, whose strip is a JPEG of millions: a byte that fills stands before its frame header, so that who reads that byte
    as a marker jumps into a comment, where a small header lies.
    """
    small, large = jpeg(8, 8), jpeg(side, side)
    frame, scan = small.index(b"\xff\xc0"), large.index(b"\xff\xda")
    head = large[:frame] + b"\xff" + large[frame:scan] + b"\xff\xfe\xff\xf0"
    comment = bytes(frame + 2 + 0xC000 - len(head)) + small[frame:frame + 19]
    data = head + comment.ljust(0xFFEE, b"\0") + large[scan:]
    return tiff(grey_page(8, 8, size=len(data), compression=7), data)


def many_tiles() -> bytes:
    """A TIFF of 255 x 257 pixels, whose strip is a JPEG 2000 with a tile for each of them."""
    import imagecodecs

    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((255, 257), np.uint8), codecformat="j2k"))
    data[24:32] = struct.pack(">2I", 1, 1)
    return tiff(grey_page(257, 255, size=len(data), compression=34712), bytes(data))


def png(width: int, height: int, *, mode: str = "L") -> bytes:
    """A black PNG of that size; each row of it costs a few bits."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    packer = zlib.compressobj(9)
    row = bytes(1 + channels * width)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, {"L": 0, "RGB": 2, "RGBA": 6}[mode], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def packed_tiff(side: int, *, packing: str = "zlib", said: int = 0) -> bytes:
    """A black TIFF, packed a thousand to one. said: side that it says to have, 0 = the true one."""
    import imagecodecs

    compression = {"zlib": 8, "lzw": 5, "packbits": 32773, "zstd": 50000, "lzma": 34925}[packing]
    if packing == "packbits":   # its encoder is slow
        data = b"\x81\0" * (side * side // 128)
    else:
        data = bytes(getattr(imagecodecs, f"{packing}_encode")(bytes(side * side)))
    return tiff(grey_page(said or side, said or side, size=len(data), compression=compression), data)


def chain(pages: int = 100_000) -> bytes:
    """A TIFF of as many pages, all of the same four pixels."""
    tags = grey_page(2, 2, size=4)
    length = 2 + 12 * len(tags) + 4
    page = tiff(tags)[8:-4]
    out = b"".join(page + struct.pack("<I", 12 + (number + 1) * length if number + 1 < pages else 0) for number in range(pages))
    return b"II*\0" + struct.pack("<I", 12) + bytes(4) + out


LAUGHS = "<!DOCTYPE o [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{number} '{f'&a{number - 1};' * 10}'>" for number in range(1, 12)) + "]>"


IMAGES: dict[str, Callable[[], bytes]] = {
    "PNG of 13,000 x 13,000": lambda: png(13_000, 13_000),
    "PNG of 8,000 x 8,000, 4 channels": lambda: png(8_000, 8_000, mode="RGBA"),
    "PNG of 60,000 x 60,000 by its header": lambda: png(60_000, 4),
    "JPEG of 65,000 x 65,000 by its header": lambda: jpeg(65_000, 65_000),
    "JPEG of 4,000 scans": scans,
    "PNG of 100,000 chunks": chunks,
    "JPEG of 4,000 scans that says others follow": lambda: with_others(scans()),
    "TIFF of 60,000 x 60,000 by its header": lambda: tiff(grey_page(60_000, 60_000, size=256), bytes(256)),
    "TIFF of 7,900 x 7,900, deflated": lambda: packed_tiff(7_900),
    "TIFF of 7,900 x 7,900, zstd": lambda: packed_tiff(7_900, packing="zstd"),
    "TIFF of 8 x 8 that unpacks to 250 MB, deflate": lambda: packed_tiff(16_000, said=8),
    "TIFF of 8 x 8 that unpacks to 250 MB, zstd": lambda: packed_tiff(16_000, said=8, packing="zstd"),
    "TIFF of 8 x 8 that unpacks to 100 MB, LZW": lambda: packed_tiff(10_000, said=8, packing="lzw"),
    "TIFF of 8 x 8 that unpacks to 250 MB, PackBits": lambda: packed_tiff(16_000, said=8, packing="packbits"),
    "TIFF of 8 x 8 that unpacks to 100 MB, LZMA": lambda: packed_tiff(10_000, said=8, packing="lzma"),
    "TIFF of 100,000 pages": chain,
    "TIFF whose 2,000 pages are one strip": shared_strip,
    "TIFF whose next page is itself": ring,
    "TIFF with a tile of 60,000 x 60,000": giant_tile,
    "TIFF with 200,000 strips of the same bytes": far_strips,
    "TIFF with a tag of 4 billion values": tag_beyond,
    "TIFF around a JPEG of 65,000 x 65,000": jpeg_in_tiff,
    "TIFF around a JPEG that hides 8,000 x 8,000 behind a byte": hidden_frame,
    "TIFF around a JPEG 2000 of 65,535 tiles": many_tiles,
    "OME-TIFF of a billion times beside one that is no number": lambda: ome(
        'SizeZ="1" SizeC="1" SizeT="1000000000"', after='<X SizeX="1" SizeZ="nan"/>'),
    "OME-TIFF of a billion planes in an entry with a size": lambda: ome(
        'SizeZ="1" SizeC="1" SizeT="1"', entry='SizeX="1" IFD="0" PlaneCount="1000000000"'),
    "OME-TIFF of 10 MB of metadata": lambda: ome('SizeZ="1" SizeC="1" SizeT="1"', after="<a/>" * 2_500_000),
    "OME-TIFF of 20,000 open UUIDs": lambda: ome('SizeZ="1" SizeC="1" SizeT="1"', after="<UUID " * 20_000),
    "OME-TIFF of a billion times": lambda: ome('SizeZ="1" SizeC="1" SizeT="1000000000"'),
    "OME-TIFF with an axis of a billion steps": lambda: ome(
        'SizeZ="1" SizeC="1" SizeT="1"', after='<StructuredAnnotations><XMLAnnotation ID="A" Namespace="openmicroscopy.org/omero/dimension/'
        'modulo"><Value><Modulo><ModuloAlongT Type="lifetime" Start="0" End="1000000000"/></Modulo></Value></XMLAnnotation>'
        '</StructuredAnnotations>'),
    "OME-TIFF of a billion planes in one entry": lambda: ome('SizeZ="1" SizeC="1" SizeT="1"', entry='IFD="0" PlaneCount="1000000000"'),
    "OME-TIFF of a billion laughs": lambda: ome('SizeZ="1" SizeC="1" SizeT="&a11;"', before=LAUGHS),
    "ImageJ stack of a billion planes": lambda: imagej(1_000_000_000),
}
"""Images that a plate archive may hold, by what is wrong with them."""
