"""The folders of iTRADE: Layouts/Layout_DS.csv, Images/<screen>/<screen>_P1_A01_{proj|midz}_224x224.tif, Metabolic/*.txt.

Layouts have iTReX's columns and no unit: doses are nM. proj (maximum projection) and midz (middle plane) are two images of one channel,
Hoechst. SOURCE is the whole folder, or Images/<screen> where it holds several screens.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from models.errors import Finding, InputError
from models.plates.readers.base import Found, Source
from models.plates.readers.files import found_with_layout, images_in, some_image, unmatched
from models.plates.readers.readouts import attach_readout, read_readouts
from models.wells import canonical_well

_NAME = re.compile(r"^(?P<plate>.+_P\d+)_(?P<well>[A-Z]{1,2}\d{2})(?:_s(?P<site>\d+))?_(?P<kind>proj|midz)_\d+x\d+\.tiff?$", re.IGNORECASE)
KINDS = {"proj": "hoechst_mip", "midz": "hoechst_mid"}     # so that recipes find them as hoechst:mip and hoechst:mid


class ITradeConvention:
    """See the module."""

    name = "itrade"

    def detect(self, source: Source) -> bool:
        """Images named <screen>_P1_A01_proj_224x224.tif."""
        return some_image(source.folder, _NAME)

    def read(self, source: Source) -> Found:
        """The images of one screen with its layout and, where there is one, its metabolic read-out."""
        paths = images_in(source.folder)
        rows = [{"plate": match["plate"], "well": canonical_well(match["well"]), "site": int(match["site"] or 1), "plane": 0,
                 "channel": match["kind"].lower(), "path": path}
                for path in paths if (match := _NAME.match(path.name))]
        if not rows:
            raise InputError(f"{source.folder.name}/ holds no image named like <screen>_P1_A01_proj_224x224.tif")
        files = pd.DataFrame(rows)
        screens = sorted(set(files["plate"].str.replace(r"_P\d+$", "", regex=True)))
        if len(screens) > 1:
            raise InputError(f"{source.folder.name}/ holds several screens", [Finding(
                rule="several_screens", severity="error", value=", ".join(screens),
                message=f"{len(screens)} screens: {', '.join(screens)}; bring one at a time, with SOURCE Images/<screen>")])
        root = _root(source.folder)
        platemap = source.platemap or (_layout(root, screens[0]) if source.layout else None)
        units = ("doses are nM: these layouts name no unit",) if source.layout else ()
        found = found_with_layout(self.name, source, files, channels=KINDS, platemap=platemap, said=(f"screen {screens[0]}", *units),
                                  findings=unmatched(paths, files["path"]))
        return _with_metabolic(found, root, screens[0]) if source.layout else found


def _root(folder: Path) -> Path:
    """The folder that holds Images: SOURCE itself, or above Images/<screen>."""
    resolved = folder.resolve()
    return next((up for up in (resolved, resolved.parent, resolved.parent.parent) if (up / "Layouts").is_dir()), resolved)


def _layout(root: Path, screen: str) -> Path | None:
    """Layout_DS.csv for a screen ..._DS1, Layout_CE.csv for ..._CE; the only one, if there is but one. None: not decided."""
    layouts = sorted((root / "Layouts").glob("*.csv")) if (root / "Layouts").is_dir() else []
    kind = re.sub(r"\d+$", "", screen.rpartition("_")[2]).lower()
    fitting = [path for path in layouts if path.stem.lower() in (f"layout_{kind}", f"layout_{screen}".lower())]
    if not fitting and len(layouts) > 1:
        raise InputError(f"{screen}: which layout?", [Finding(
            rule="platemap", severity="error", value=screen,
            message=f"none of {', '.join(path.name for path in layouts)} is named after {screen}; name one with --platemap")])
    return next(iter(fitting or layouts), None)


def _with_metabolic(found: Found, root: Path, screen: str) -> Found:
    """The layout with the read-out of Metabolic/<screen>*.txt, if there is one."""
    folder = root / "Metabolic"
    files = sorted(path for path in folder.glob("*.txt") if re.match(rf"{re.escape(screen)}(?![0-9A-Za-z])", path.name)) \
        if folder.is_dir() else []
    if not files:
        return found
    readouts = pd.concat([read_readouts(path).assign(name=screen) for path in files], ignore_index=True)
    return attach_readout(found, readouts, tuple(files))
