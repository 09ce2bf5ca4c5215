// What was found among the files, and what is still missing.
import { el, select } from "../shared/dom.js";
import { count, size, some } from "../shared/words.js";

const NAMED = 4; // files left aside that are named
const OTHER_SHEET = /\.xlsb?$|\.ods$/i;

/** onLayout(file): another table was chosen as the layout. */
export function foundView(sorted, { onLayout }) {
  const { archives, folders, screens, aside } = sorted;
  const images = imagesInWords(sorted);
  return el("ul.found",
    images ? have(images) : lack("No images yet: drop a zip per plate, or a folder of images (TIFF, PNG, JPEG)."),
    layoutLine(sorted, onLayout),
    screens.length > 0 && have(`Screen description ${screens[0].path}`),
    archives.length > 0 && folders.length > 0 && lack("Both zips and single images were dropped; only the zips are sent."),
    setAside(aside.map(({ path }) => path)),
    aside.some(({ path }) => OTHER_SHEET.test(path)) && lack("This kind of spreadsheet cannot be read: save it as .xlsx or CSV, and drop it again."));
}

/** The files that are not used. */
export const setAside = (paths) => paths.length > 0 && el("li.dim", `Set aside: ${some(paths, NAMED)}`);

const have = (...content) => el("li.have", content);
const lack = (...content) => el("li.lack", content);

function layoutLine({ layouts }, onLayout) {
  if (layouts.length === 0) {
    return lack("No layout yet: drop the table that says what is in each well. ",
      el("a", { href: "page/layout-template.csv", download: "layout-template.csv" }, "Download a layout to fill in"));
  }
  if (layouts.length === 1) return have(`Layout ${layouts[0].path}`);
  const choice = select(layouts.map(({ path }, index) => [index, path]), { on: { change: () => onLayout(layouts[choice.value].file) } });
  return have(el("label", "Layout ", choice));
}

/** "1 plate archive (1.6 MB)", "96 images in 1 folder (20 MB)". */
function imagesInWords({ archives, folders }) {
  const bytes = (items) => size(items.reduce((sum, { file }) => sum + file.size, 0));
  const loose = folders.flatMap(({ files }) => files);
  return [archives.length > 0 && `${count(archives.length, "plate archive")} (${bytes(archives)})`,
    loose.length > 0 && `${count(loose.length, "image")} in ${count(folders.length, "folder")} (${bytes(loose)})`,
  ].filter(Boolean).join(" and ");
}
