// What a person dropped or chose: folders opened, and every file put where it belongs.
import { unique } from "../shared/words.js";

const TIFF = /\.tiff?$/i;
const PHOTO = /\.(png|jpe?g)$/i;
const TABLE = /\.(csv|tsv|txt|xlsx)$/i;
const LAYOUT_NAME = /layout|plate.?map/i;
const SCREEN = /^screen\.(ya?ml|json)$/i;
const NOT_A_LAYOUT = /(^|\/)(treatments\.|truth\/)/i; // files of a Dosewell screen that describe other things

const CLUTTER = /^\.|^thumbs\.db$|^__macosx$/i;

/** Whether a path is of what systems leave in folders. */
export const isClutter = (path) => path.split("/").some((part) => CLUTTER.test(part));

/** Every file of a drop with its path; folders are walked. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // must be asked before any await
  if (entries.length === 0) return chosenFiles(transfer.files);
  return (await Promise.all(entries.map(walk))).flat();
}

/** The files of an <input type=file> with their paths. */
export const chosenFiles = (files) => [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

async function walk(entry) {
  if (isClutter(entry.name)) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = entry.createReader();
  const inner = [];
  for (;;) { // a reader gives at most 100 entries at a time
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) return (await Promise.all(inner.map(walk))).flat();
    inner.push(...some);
  }
}

/**
 * The files by their use: archives (a zip per plate), folders of loose images ({ name, files }), layouts (the likeliest first),
 * screens, and what is left aside.
 */
export function sortFiles(files) {
  const kinds = { archives: [], tiffs: [], photos: [], layouts: [], screens: [], aside: [] };
  for (const item of files) {
    if (!isClutter(item.path)) kinds[kindOf(item.path)].push(item);
  }
  const { tiffs, photos, ...sorted } = kinds;
  const images = tiffs.length + sorted.archives.length > 0 ? tiffs : photos; // beside TIFFs and zips photos only illustrate
  if (images === tiffs) sorted.aside.push(...photos);
  sorted.layouts.sort((a, b) => rank(a.path) - rank(b.path));
  return { ...sorted, folders: unique(images.map(({ path }) => folderOf(path))).sort().map((path) => ({
    name: nameOf(path), files: images.filter((image) => folderOf(image.path) === path) })) };
}

const nameOf = (path) => path.split("/").at(-1);
const folderOf = (path) => path.split("/").slice(0, -1).join("/");

function kindOf(path) {
  const name = nameOf(path);
  if (/\.zip$/i.test(name)) return "archives";
  if (TIFF.test(name)) return "tiffs";
  if (PHOTO.test(name)) return "photos";
  if (SCREEN.test(name)) return "screens";
  return TABLE.test(name) && !NOT_A_LAYOUT.test(path) ? "layouts" : "aside";
}

/** Tables that are called layout or plate map come first, then those that lie higher. */
const rank = (path) => (LAYOUT_NAME.test(nameOf(path)) ? 0 : 100) + path.split("/").length;

/** What a layout without a plate column is the layout of: the one zip or folder; "" where there are several, or none with a name. */
export function onlyPlate({ archives, folders }) {
  const names = archives.length > 0 ? archives.map(({ file }) => file.name.replace(/\.zip$/i, "")) : folders.map(({ name }) => name);
  return names.length === 1 ? names[0] : "";
}

/** What keeps the zips or folders from being the layout's plates, in words: each must have the name of its plate. "" if nothing does. */
export function strayPlates({ archives, folders }, plates) {
  const several = folders.length > 1 ? folders.map(({ name }) => name) : []; // one folder is the plate that the layout names
  const sent = archives.length > 0 ? archives.map(({ file }) => file.name.replace(/\.zip$/i, "")) : several;
  const [stray, bare] = [sent.filter((name) => !plates.includes(name)), plates.filter((name) => !sent.includes(name))];
  if (sent.length === 0 || stray.length + bare.length === 0) return "";
  return [stray.length > 0 && `${stray.join(", ")} ${stray.length > 1 ? "are no plates" : "is no plate"} of the layout`,
    bare.length > 0 && `no images of ${bare.join(", ")}, which the layout names`].filter(Boolean).join("; ");
}

/** What is there already, with new files: a layout for images that are there, or the reverse, is added; else they replace it. */
export function addFiles(old, fresh) {
  const hasImages = ({ archives, folders }) => archives.length + folders.length > 0;
  const tables = (sorted) => Object.fromEntries(["layouts", "screens"].filter((name) => sorted[name].length > 0)
    .map((name) => [name, sorted[name]]));
  if (old && hasImages(old) && !hasImages(fresh)) return { ...old, ...tables(fresh) };
  if (old && hasImages(fresh) && fresh.layouts.length === 0) return { ...fresh, ...tables(old) };
  return fresh;
}
