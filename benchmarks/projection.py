"""Big plates made small: `pipelines.project` against plain tifffile + numpy + resize, and against the page cache's own speed.

    python -m benchmarks.projection [--wells 3] [--rounds 3] [--threads 2] [--folder TMP]

Stacks of 30 planes of 2048 x 2048 pixels of 16 bit (0.25 GB a well), as one file a stack, as one file a plane, and LZW-compressed. Every
contender runs in a process of its own, in turns, files in the page cache; its best round counts, its highest memory is the process's.
Needs 0.5 GB of disk for each well. Results must be equal (to the rounding of the archive); else it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from pipelines.command import run_command

PLANES, SIDE, SMALL = 30, 2048, 224
FORMS = {"one file a stack": None, "one file a plane": None, "one file a stack, LZW": "lzw"}     # how they are compressed


def make_stack(seed: int) -> np.ndarray:
    """A ball of bright spots in a noisy background of a 12-bit camera, (30, 2048, 2048)."""
    rng = np.random.default_rng(seed)
    stack = rng.normal(180, 12, (PLANES, SIDE, SIDE)).astype(np.float32)
    for z, y, x in rng.normal(0.5, 0.12, (400, 3)).clip(0.05, 0.95):
        row, column, plane = int(y * SIDE), int(x * SIDE), int(z * PLANES)
        stack[max(plane - 1, 0):plane + 2, row - 14:row + 14, column - 14:column + 14] += rng.uniform(200, 3000)
    return stack.clip(0, 4095).astype(np.uint16)


def write_plates(folder: Path, wells: int) -> None:
    for well in range(wells):
        stack = make_stack(well)
        for number, (form, compression) in enumerate(FORMS.items()):
            plate = folder / f"form{number}"
            plate.mkdir(exist_ok=True)
            if form == "one file a plane":
                for plane in range(PLANES):
                    tifffile.imwrite(plate / f"A{well + 1:02d}_z{plane:02d}.tif", stack[plane], compression=compression)
            else:
                tifffile.imwrite(plate / f"A{well + 1:02d}.tif", stack, photometric="minisblack", compression=compression)


def stacks_of(plate: Path) -> list[list[Path]]:
    wells: dict[str, list[Path]] = {}
    for path in sorted(plate.glob("*.tif")):
        wells.setdefault(path.name[:3], []).append(path)
    return list(wells.values())


def small(plane: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((SMALL, SMALL), Image.Resampling.BOX))


def plain(paths: list[Path]) -> list[np.ndarray]:
    stack = tifffile.imread(paths if len(paths) > 1 else paths[0])
    return [small(stack.max(axis=0)), small(stack[PLANES // 2]), small(stack.mean(axis=0))]


def each(work: Callable[[list[Path]], object], stacks: Iterable[list[Path]], threads: int) -> list[object]:
    if threads == 1:
        return [work(paths) for paths in stacks]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, stacks))


def touch(paths: list[Path]) -> None:
    """Read the files as fast as the page cache gives them."""
    buffer = memoryview(bytearray(2**20))
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def run_one(contender: str, plate: Path, out: Path, threads: int) -> dict[str, float]:
    """Seconds of clock and of processors of one contender on a plate, and the process's highest memory in MB."""
    from models.plates.readers import Source
    from pipelines.project import Projecting, project

    stacks = stacks_of(plate)
    each(touch, stacks, 1)
    began, cpu = time.perf_counter(), time.process_time()
    if contender == "project":
        project(Projecting(source=Source(folder=plate, plate="P"), out=out, size=SMALL, threads=threads, force=True), progress=False)
    elif contender == "cache":
        each(touch, stacks, threads)
    else:
        found = each(plain, stacks, threads if contender == "plain, threads" else 1)
        np.save(out.with_suffix(".npy"), np.array(found))
    return {"clock": time.perf_counter() - began, "cpu": time.process_time() - cpu, "memory": highest_memory()}


def highest_memory() -> float:
    """Of this process, in MB. Linux counts the parent's memory at the start of a child into ru_maxrss, but not into VmHWM."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) / 1024 for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_equal(out: Path) -> None:
    """The archive's images are the plain ones, rounded."""
    expected = np.load(out.with_suffix(".npy"))
    with zipfile.ZipFile(out / "images" / "P.zip") as archive:
        for well, planes in enumerate(expected):
            for place, plane in enumerate(planes):
                with archive.open(f"A{well + 1:02d}_s1_c{place}_z0.tif") as member:
                    found = tifffile.imread(member)
                if np.abs(found - plane.astype(np.float64)).max() > 0.501:
                    raise SystemExit(f"well {well + 1}, projection {place}: results differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", nargs=3, help="contender, plate, out: what the parent process starts")
    arguments = parser.parse_args()
    if arguments.one:
        contender, plate, out = arguments.one
        print(json.dumps(run_one(contender, Path(plate), Path(out), arguments.threads)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        compare(Path(folder), wells=arguments.wells, rounds=arguments.rounds, threads=arguments.threads)


def compare(folder: Path, *, wells: int, rounds: int, threads: int) -> None:
    write_plates(folder, wells)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {wells} wells, {threads} threads, best of {rounds}; GB of pixels")
    print("| files | contender | GB/s | x plain | share of page cache | GB per processor second | peak MB |\n|---|---|---|---|---|---|---|")
    for number, form in enumerate(FORMS):
        plate, best = folder / f"form{number}", dict[str, dict[str, float]]()
        for _ in range(rounds):
            for contender in ("plain", "plain, threads", "project", "cache"):
                done = subprocess.run([sys.executable, "-m", "benchmarks.projection", "--threads", str(threads), "--one", contender, plate,
                                       folder / f"out{number}"], check=True, capture_output=True, text=True)
                found = json.loads(done.stdout)
                best[contender] = min(best.get(contender, found), found, key=lambda one: one["clock"])
        check_equal(folder / f"out{number}")
        pixels = wells * PLANES * SIDE * SIDE * 2 / 1e9
        stored = sum(path.stat().st_size for path in plate.glob("*.tif")) / 1e9
        for contender, took in best.items():
            speed = (stored if contender == "cache" else pixels) / took["clock"]
            share = stored / took["clock"] / (stored / best["cache"]["clock"])
            print(f"| {form} | {contender} | {speed:.2f} | {best['plain']['clock'] / took['clock']:.2f} | {share:.0%} | "
                  f"{pixels / took['cpu']:.2f} | {took['memory']:.0f} |")


if __name__ == "__main__":
    run_command(main)
