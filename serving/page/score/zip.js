// A zip archive, stored and not compressed, made without reading the images into memory at once.
import { unreadable } from "../shared/api.js";

const [LIMIT, MEMBERS] = [0xffffffff, 0xffff]; // bytes and files: beyond them a zip needs its 64-bit form
const EPOCH = 0x0021; // 1 January 1980: archives carry no clock

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** Throws what `unreadable` says of a file that cannot be read any more. */
async function checksum(file) {
  try {
    return await checksumOf(file.stream().getReader());
  } catch (error) {
    throw (await unreadable([file])) ?? error;
  }
}

async function checksumOf(reader) {
  let crc = 0xffffffff;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (crc ^ 0xffffffff) >>> 0;
    for (const byte of value) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  }
}

/** Little-endian fields: [value, bytes] pairs. */
function record(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [, bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [value, bytes] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return view.buffer;
}

/** `files` as a zip named `name`; `onFile()` after each. Throws where the archive would pass 4 GiB or 65,535 files. */
export async function zipFiles(name, files, { onFile, signal }) {
  const parts = [];
  const directory = [];
  let offset = 0;
  if (files.length > MEMBERS) throw new Error(`plate ${name} has ${files.length} images, more than are packed here; zip them yourself and drop the archive`);
  for (const { file } of files) {
    signal.throwIfAborted();
    const title = new TextEncoder().encode(file.name);
    const common = [[20, 2], [0x0800, 2], [0, 2], [0, 2], [EPOCH, 2], [await checksum(file), 4], [file.size, 4], [file.size, 4],
      [title.length, 2]];
    directory.push(record([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), title);
    parts.push(record([0x04034b50, 4], ...common, [0, 2]), title, file);
    offset += 30 + title.length + file.size;
    if (offset > LIMIT) throw new Error(`the images of plate ${name} are more than 4 GB; zip them yourself and drop the archive`);
    onFile();
  }
  const length = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = record([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [length, 4], [offset, 4], [0, 2]);
  return new File([...parts, ...directory, end], `${name}.zip`, { type: "application/zip" });
}
