"""Bundles and frozen trunks on disk, each under its hash: taken from here, or downloaded, looked through and kept.

Nothing of a download is used before it has the hash that was registered and holds one bundle and nothing else.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.errors import BundleError, RefusedError
from models.networks.bundle import Card, TrunkReference, bundle_sha256, file_sha256, read_card
from models.registered import RegisteredVersion, card_if_sound, refusing, trunk_name

Download = Callable[[str, str, Path], Path]
"""(name, version, folder) -> where in the folder the content of the version's artifact was put."""

_DOWNLOAD = "download-"
_LEFT_SECONDS = 86_400      # a download that is this old was cut off by a kill
_ENTRY_FILES = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "registered_model_meta"}    # MLflow's, beside a bundle


class BundleCache:
    """`folder`/bundles and `folder`/trunks; what is not there comes by `download`."""

    def __init__(self, folder: Path, *, download: Download) -> None:
        self._folder, self._download = folder, download
        self._hashes: dict[tuple[str, int, int, int], str] = {}
        self._fetching_trunk = threading.Lock()

    def bundle(self, version: RegisteredVersion, *, check_gates: bool) -> tuple[Path, Card]:
        """The verified bundle folder of a version, and its card.

        Raises RefusedError for failed gates, a hash other than the registered one, and foreign or missing content; what `download` raises.
        """
        if check_gates:
            version.require_gates()
        if not re.fullmatch(r"[0-9a-f]{64}", version.bundle_sha256):
            raise RefusedError(f"{version} is refused: it has no tag bundle_sha256; `python -m pipelines.register` sets it")
        kept = self._folder / "bundles" / version.bundle_sha256 / version.name
        card = card_if_sound(kept, version.bundle_sha256)
        if card is None:
            self._fill(version, kept)
            card = refusing(version, lambda: read_card(kept))
        if check_gates and not card.gates_passed:
            raise RefusedError(f"{version} is refused: {'; '.join(card.gate_failures())}")
        return kept, card

    def trunk(self, reference: TrunkReference) -> Path:
        """The weights file of a frozen trunk, by hash, from the cache or downloaded. Raises RefusedError; what `download` raises."""
        kept = self._folder / "trunks" / f"{reference.sha256}.safetensors"
        with self._fetching_trunk:      # many heads may ask for one trunk at the same moment
            if not kept.is_file() or not self._is(kept, reference.sha256):
                self._fill_trunk(reference, kept)
        return kept

    @contextmanager
    def _downloaded(self, name: str, version: str) -> Iterator[Path]:
        """The content of a version's artifact, on the cache's disk, for as long as the block lasts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{_DOWNLOAD}*"):
            with suppress(FileNotFoundError):   # another process clears away too
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=_DOWNLOAD) as folder:
            yield self._download(name, version, Path(folder))

    def _fill_trunk(self, reference: TrunkReference, kept: Path) -> None:
        name = trunk_name(reference)
        with self._downloaded(name, "1") as folder:
            files = [path for path in folder.rglob("*.safetensors") if path.is_file()]
            if len(files) != 1 or file_sha256(files[0]) != reference.sha256:
                raise RefusedError(f"{name} in the registry does not hold the trunk with sha256 {reference.sha256}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            files[0].replace(kept)

    def _is(self, path: Path, sha256: str) -> bool:
        """Whether a file has this hash; one that did not change since is not read again, because hundreds of heads share a trunk."""
        found = path.stat()
        state = (str(path), found.st_mtime_ns, found.st_size, found.st_ino)
        if self._hashes.get(state) is None:
            self._hashes[state] = file_sha256(path)
        return self._hashes[state] == sha256

    def _fill(self, version: RegisteredVersion, kept: Path) -> None:
        with self._downloaded(version.name, str(version.version)) as folder:
            foreign = sorted(path.name for path in folder.iterdir() if path.name not in _ENTRY_FILES | {"data"})
            bundles = [card.parent for card in folder.glob("data/*/card.json")]
            extra = [path.name for path in folder.glob("data/*") if path not in bundles]
            if foreign or extra or len(bundles) != 1:
                raise RefusedError(f"{version} is refused: expected one bundle and nothing else, got {len(bundles)} bundle(s) "
                                   f"and {', '.join(foreign + extra) or 'nothing'} beside")
            _require_as_registered(bundles[0], version)
            kept.parent.mkdir(parents=True, exist_ok=True)
            if kept.exists() and card_if_sound(kept, version.bundle_sha256) is None:
                kept.rename(folder / "damaged")     # never emptied in place: another process may read it
            try:
                bundles[0].rename(kept)
            except OSError:     # another process brought the same at the same moment
                if card_if_sound(kept, version.bundle_sha256) is None:
                    raise


def _require_as_registered(bundle: Path, version: RegisteredVersion) -> None:
    """Raises RefusedError for a downloaded bundle that cannot be read, or is another one than was registered."""
    way_out = "register the model again, or move the alias to another version"
    try:
        read_card(bundle)
    except BundleError as error:
        reason = str(error).replace(str(bundle), "its bundle")      # where it was downloaded to is another folder at every try
        raise RefusedError(f"{version} is refused: what is stored of it cannot be used ({reason}); {way_out}") from error
    if (found := bundle_sha256(bundle)) != version.bundle_sha256:
        raise RefusedError(f"{version} is refused: its content was changed since it was registered (sha256 {found}, registered "
                           f"{version.bundle_sha256}); {way_out}")
