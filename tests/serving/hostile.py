"""Files that mean harm, made small: each costs its sender kilobytes, or a few megabytes, and a trusting reader gigabytes or hours."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

MEMBER = "A01_s1_c0_z0.tif"
Tags = Mapping[int, tuple[int, bytes]]      # tag -> (type, its values as bytes)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 16: 8}    # bytes of a value: BYTE, ASCII, SHORT, LONG, LONG8


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


def workbook(sheet: str, *, strings: str = "") -> bytes:
    """An XLSX whose only sheet is this XML."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    return archive({
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
                               '"application/vnd.openxmlformats-package.relationships+xml"/>'
                               f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
                               f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kinds}.sharedStrings+xml"/>'
                               f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/></Types>'.encode(),
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" '
                       'Target="xl/workbook.xml"/></Relationships>'.encode(),
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/worksheet" '
                                      f'Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/sharedStrings" '
                                      'Target="sharedStrings.xml"/></Relationships>'.encode(),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets>'
                           '</workbook>'.encode(),
        "xl/sharedStrings.xml": (strings or f'<sst xmlns="{main}"/>').encode(),
        "xl/worksheets/sheet1.xml": sheet.replace("<worksheet>", f'<worksheet xmlns="{main}">').encode()})


def sheet(rows: str, *, after: str = "", before: str = "") -> str:
    return f'<?xml version="1.0"?>{before}<worksheet><sheetData>{rows}</sheetData>{after}</worksheet>'


def cell(place: str, value: str = "1") -> str:
    return f'<c r="{place}"><v>{value}</v></c>'


def far_cells() -> bytes:
    """Two cells, of which one lies in the last column of the last row."""
    return workbook(sheet(f'<row r="1">{cell("A1")}</row><row r="1048576">{cell("XFD1048576")}</row>'))


def wide_rows(count: int = 30_000) -> bytes:
    """A cell in the last column of every row."""
    return workbook(sheet("".join(f'<row r="{row}">{cell(f"XFD{row}")}</row>' for row in range(1, count))))


def merged_wide(count: int = 5_000) -> bytes:
    """Rows of two cells, and the last column merged beside all of them."""
    rows = "".join(f'<row r="{row}">{cell(f"A{row}")}{cell(f"B{row}")}</row>' for row in range(1, count))
    return workbook(sheet(rows, after=f'<mergeCells count="1"><mergeCell ref="XFD1:XFD{count}"/></mergeCells>'))


def merged_over(count: int = 5_000) -> bytes:
    """Rows of two cells, and the first column merged from each row to the last."""
    rows = "".join(f'<row r="{row}">{cell(f"A{row}")}{cell(f"B{row}")}</row>' for row in range(1, count))
    merged = "".join(f'<mergeCell ref="A{row}:A{count}"/>' for row in range(1, count))
    return workbook(sheet(rows, after=f"<mergeCells>{merged}</mergeCells>"))


def lying_part(size: int = 2**26) -> bytes:
    """An XLSX whose list of parts is followed by blanks that it does not declare."""
    with zipfile.ZipFile(io.BytesIO(workbook(sheet("")))) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    listed = "[Content_Types].xml"
    data = bytearray(archive({**parts, listed: parts[listed] + b" " * size}))
    at = data.find(listed.encode(), data.find(b"PK\1\2")) - 46    # its entry in the directory
    data[at + 24:at + 28] = struct.pack("<I", 1_000)
    return bytes(data)


def sheet_bomb(rows: int = 2_000_000) -> bytes:
    """Two million rows, all alike, in 300 kB."""
    return workbook(sheet(f"<row>{cell('A1')}{cell('B1')}</row>" * rows))


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

TABLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "XLSX of 2,000,000 rows in 300 kB": ("layout.xlsx", sheet_bomb),
    "XLSX with a cell at the end of the sheet": ("layout.xlsx", far_cells),
    "XLSX with 30,000 rows as wide as they get": ("layout.xlsx", wide_rows),
    "XLSX with its last column merged": ("layout.xlsx", merged_wide),
    "XLSX with cells merged over one another": ("layout.xlsx", merged_over),
    "XLSX whose list of parts says 1 kB and unpacks to 64 MB": ("layout.xlsx", lying_part),
    "XLSX of a billion laughs": ("layout.xlsx", lambda: workbook(sheet(
        '<row r="1"><c r="A1" t="inlineStr"><is><t>&a11;</t></is></c></row>', before=LAUGHS))),
    "CSV of 2 million empty rows": ("layout.csv", lambda: b"well,role,treatment,dose\nA01,treated,x,1\n" + b"\n" * 2_000_000 + b"A02\n"),
    "CSV of 2 million rows": ("layout.csv", lambda: b"well,role\n" + b"a,b\n" * 2_000_000),
    "CSV of 10 million commas": ("layout.csv", lambda: b"well,role,treatment,dose\n" + b"," * 10_000_000),
    "CSV with a number of 100,000 digits": ("layout.csv", lambda: b"well,role,treatment,dose,dose_unit\nA01,treated,x,"
                                            + b"1" * 100_000 + b"!,nM\n"),
}
"""Layouts: file name and content, by what is wrong with them."""
