// Which of the files that were dropped are images to classify.
import { isClutter } from "../score/files.js";

const IMAGE = /\.(tiff?|png|jpe?g)$/i;
const ARCHIVE = /\.zip$/i;

/** Whether what was chosen is one archive. */
export const isArchive = (chosen) => chosen.length === 1 && ARCHIVE.test(chosen[0].file.name);

/** { chosen, aside }: the images, or one archive where there are none; the paths of what is left. */
export function chooseImages(files) {
  const known = files.filter(({ path }) => !isClutter(path));
  const images = known.filter(({ file }) => IMAGE.test(file.name));
  const archives = known.filter(({ file }) => ARCHIVE.test(file.name));
  const chosen = images.length > 0 ? images : archives.slice(0, 1);
  return { chosen, aside: known.filter((item) => !chosen.includes(item)).map(({ path }) => path) };
}
