"""How much of the bare forward pass does the service reach? Beside it: `mlflow models serve` and a plain FastAPI one.

    python -m benchmarks.service [--trunk mobilenet_v2] [--size 224] [--wells 96] [--together 1] [--clients 1 8 32] [--plates 4]
                                 [--requests 96] [--workers 1] [--threads 2]

One registered model (a linear head, fitted to the plate, on a frozen trunk of random weights), plates of 96 or 384 one-channel 8-bit TIFFs
of simulated wells. A head that reads the wells gives the curves that models in use give; `--random-head` has learned nothing, and its
scattered curves take five times as long to fit. Compared, in one run:

    bare      the forward pass alone, by the path and precision that the service takes, on tensors in memory, in this process
    decoding  the plate's TIFFs read, averaged to 224 pixels, in this process and thread, nothing else
    dosewell  POST /score with a plate, or several `--together`: upload, rules, image quality, forward pass, curves, answer
    fastapi   a plain endpoint: a well's TIFF in, decoded, torch eager float32, a number out
    mlflow    `mlflow models serve` of the same registered version: a well's pixels in as JSON, numbers out

wells/s, p50 and p99 of a request (its plates for dosewell, a well for the others), most memory of the server's processes. `of bare`: wells
per processor second of the server over those of the bare forward pass, so that other work on the machine counts little; of one client's
requests and of the bare passes the median counts, so that neither is favoured. `of the bound`: the same against bare and decoding together.
`of bare, by the clock`: wells/s over those of the bare forward pass, which has all cores at once; means something on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import Ridge

from benchmarks.forward import cpu
from benchmarks.many_models import random_head, register
from benchmarks.processes import PeakMemory, family, processor_seconds
from benchmarks.timing import in_turn
from models.networks.forward import path_of
from models.networks.heads import Network, build_head
from models.networks.recipe import Recipe
from models.networks.trunks import Trunk
from models.plates.images import PlateArchive, encode_tiff, write_plate
from models.plates.layout import read_layout, write_layout
from models.plates.prepare import prepare_plate
from models.plates.projections import resize_area
from models.registry import Registry
from models.wells import well_keys, wells_of
from pipelines.command import run_command
from pipelines.servers import free_port
from serving.settings import Settings
from tests.serving.tiny import SCREEN, Server
from tests.waiting import until

import torch  # isort: skip  # the registry's variables are set first
from torch import nn  # isort: skip

NAME = "viability-L000"
Row = dict[str, object]
PLAIN = """
import io, sys, tifffile, torch, numpy as np
from fastapi import FastAPI, Request
from pathlib import Path
from models.networks.bundle import read_card, HEAD
from models.networks.heads import Network
from safetensors.torch import load_file
card = read_card(Path(sys.argv[1])); network = Network(card.recipe).eval()
network.trunk.load_state_dict(load_file(sys.argv[2])); network.head.load_state_dict(load_file(Path(sys.argv[1]) / HEAD))
app = FastAPI()
@app.post("/predict")
async def predict(request: Request):
    pixels = tifffile.imread(io.BytesIO(await request.body())).astype(np.float32) / 255
    with torch.inference_mode():
        return {"od": float(network(torch.from_numpy(np.stack([pixels] * 3))[None])[0, 0])}
import uvicorn; uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]), log_level="error")
"""


def living(row: pd.Series) -> float:
    """The share of living cells that a well of the layout shows, 0-1."""
    known = {"negative": 1.0, "positive": 0.0}.get(row["role"])
    return known if known is not None else float(1 - row["dose"] / (row["dose"] + 3e3))


def plate_layout(wells: int, plate: str = "P1") -> pd.DataFrame:
    """A sixth of the wells for each kind of control, the others for the plate's treatments of 8 doses in 4 wells, at random places."""
    controls: list[Row] = [{"role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "replicate": number + 1}
                           for role in ("negative", "positive") for number in range(wells // 6)]
    treated: list[Row] = [{"role": "treated", "treatment": f"drug {name + 1} of {plate}", "dose": 10.0**dose, "dose_unit": "nM",
                           "replicate": number + 1} for name in range(wells // 48) for dose in range(8) for number in range(4)]
    names = np.random.default_rng(0).permutation(list(wells_of(wells)))
    return pd.DataFrame([{"plate": plate, "well": str(well), **row} for well, row in zip(names, controls + treated, strict=True)])


def plates_of(folder: Path, *, size: int, wells: int = 96, plates: int = 1) -> tuple[list[Path], Path]:
    """Archives of plates P1, P2 ... and their layout; blurred noise, darker where the dose is high."""
    rng = np.random.default_rng(1)
    base = gaussian_filter(rng.normal(0, 1, (size, size)), 3)
    tables = {name: plate_layout(wells, name) for name in (f"P{number + 1}" for number in range(plates))}

    def image(row: pd.Series) -> np.ndarray:
        level = 70 + 80 * living(row)
        grey = level + rng.normal(0, 4, base.shape) + np.roll(base / base.std(), rng.integers(0, size), 0) * level / 5
        return np.clip(grey, 0, 255).astype(np.uint8)
    for name, table in tables.items():
        rows = (row for _, row in table.sort_values("well").iterrows())
        write_plate(folder / f"{name}.zip", ((f"{row['well']}_s1_c0_z0.tif", image(row)) for row in rows))
    write_layout(pd.concat(tables.values()), folder / "layout.csv")
    return [folder / f"{name}.zip" for name in tables], folder / "layout.csv"


def fitted_head(network: Network, recipe: Recipe, *, archive: Path, layout: Path) -> nn.Module:
    """A linear head that reads the plate: ridge regression of the wells' share of living cells on their features."""
    cpu_device = torch.device("cpu")
    with PlateArchive(archive) as plate:
        images = prepare_plate(plate, recipe.input, channels=SCREEN["channels"])
    trunk = Trunk(network, cpu_device, size=recipe.input.size, path=path_of(recipe.trunk.name, cpu_device))
    features = trunk.features(images.pixels).astype(float)     # (N, F)
    rows = read_layout(layout, plate_format=384).set_index(["plate", "well"]).loc[well_keys(images.wells)]
    truth = np.array([living(row) for _, row in rows.iterrows()])
    fitted = Ridge(alpha=0.1 * features.var(axis=0).sum()).fit(features, truth)
    head = build_head(recipe.head, network.feature_count)
    head.load_state_dict({"0.weight": torch.tensor(fitted.coef_[None], dtype=torch.float32),
                          "0.bias": torch.tensor([fitted.intercept_], dtype=torch.float32)})
    return head


def load(pid: int, send: Callable[[], httpx.Response], *, clients: int, requests: int, wells: int) -> dict[str, float]:
    """`requests` requests of `wells` wells each by so many clients at once."""
    taken: list[float] = []
    processors: list[float] = []    # of each request; of a single client's nobody else's are among them

    def used() -> float:
        return processor_seconds(family(pid))

    def one(_number: int) -> None:
        before, started = used(), time.perf_counter()
        answer = send()
        assert answer.status_code == 200, answer.text[:300]
        taken.append(time.perf_counter() - started)
        processors.append(used() - before)
    for _ in range(1 if wells > 1 else 8):     # what a server does once only
        send()
    with PeakMemory(lambda: family(pid), every=0.2) as memory, ThreadPoolExecutor(clients) as pool:
        before, started = used(), time.perf_counter()
        list(pool.map(one, range(requests)))
        seconds, processor = time.perf_counter() - started, used() - before
    each = float(np.median(processors)) if clients == 1 else processor / requests
    return {"clients": clients, "wells/s": requests * wells / seconds, "p50, s": float(np.quantile(taken, 0.5)),
            "p99, s": float(np.quantile(taken, 0.99)), "memory, MB": memory.most_mb, "wells/processor s": wells / each}


def answers(url: str) -> bool:
    """Whether anything comes from there."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=5, trust_env=False).status_code > 0
    return False


@contextlib.contextmanager
def process(command: list[str], port: int, path: str, **environment: str) -> Iterator[tuple[str, int]]:
    """A server in a process of its own, until it answers at `path` with anything."""
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"    # mlflow looks for uvicorn there
    running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        until(lambda: running.poll() is not None or answers(f"http://127.0.0.1:{port}{path}"))
        if running.poll() is not None:
            raise SystemExit(f"{' '.join(command[:5])} ... ended by itself with status {running.returncode}")
        yield f"http://127.0.0.1:{port}", running.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(timeout=30)


def bare(registry: Registry, archive: Path, *, repeats: int) -> tuple[float, float, float]:
    """(wells per processor second of the forward pass, of decoding and resizing, wells a second of the forward pass), 96 of the plate."""
    predictor = registry.load(registry.resolve(NAME), device="cpu")
    pixels = np.random.default_rng(0).random((96, 3, 224, 224), np.float32).astype(np.float16)     # as prepared images are kept
    with PlateArchive(archive) as plate:
        members = list(plate.members["member"])[:96]

        def decode() -> None:
            for member in members:
                resize_area(plate.read(member).astype(np.float32), 224)
        rounds = in_turn({"forward": lambda: predictor.trunk.features(pixels), "decode": decode}, rounds=repeats)
    wall, processor = np.median(rounds["forward"], axis=0)
    print(f"scores in {predictor.trunk.precision}")
    return 96 / processor, 96 / np.median(rounds["decode"], axis=0)[1], 96 / wall


def of_dosewell(folder: Path, registry: Registry, archives: list[Path], layout: Path, *, wells: int, clients: list[int],
                requests: int, workers: int, threads: int) -> list[Row]:
    screen = json.dumps(SCREEN | {"plate_format": wells})
    files = [("images", (path.name, path.read_bytes())) for path in archives] + [("layout", (layout.name, layout.read_bytes()))]
    settings = {"DOSEWELL_JOB_WORKERS": "0", "DOSEWELL_WORKERS": str(workers), "DOSEWELL_SCORING_THREADS": str(threads),
                "DOSEWELL_POLL_SECONDS": str(Settings.poll_seconds)}      # as it is served; tests look more often
    with (Server(folder / "state", registry.tracking_uri, **settings) as server, talking_to(server.url) as client):
        def send() -> httpx.Response:
            return client.post("/score", files=files, data={"model": NAME, "screen": screen})
        return [{"server": "dosewell", **load(server.process.pid, send, clients=number, requests=max(requests, number),
                                              wells=wells * len(archives))} for number in clients]


def talking_to(url: str) -> httpx.Client:
    """The same for every server."""
    return httpx.Client(base_url=url, timeout=600, trust_env=False, limits=httpx.Limits(max_connections=64))


def of_fastapi(folder: Path, registry: Registry, archive: Path, *, clients: list[int], requests: int) -> list[Row]:
    bundle, port = registry.fetch(registry.resolve(NAME)), free_port()
    trunk = folder / "models" / "trunk-0" / "trunk.safetensors"
    with PlateArchive(archive) as plate:
        tiff = encode_tiff(resize_area(plate.read(str(plate.members["member"].iloc[0])).astype(np.float32), 224).astype(np.uint8))
    with process([sys.executable, "-c", PLAIN, str(bundle), str(trunk), str(port)], port, "/docs") as (url, pid), talking_to(url) as client:
        def send() -> httpx.Response:
            return client.post("/predict", content=tiff)
        return [{"server": "fastapi", **load(pid, send, clients=number, requests=requests, wells=1)} for number in clients]


def of_mlflow(registry: Registry, *, clients: list[int], requests: int) -> list[Row]:
    port, pixels = free_port(), np.random.default_rng(0).random((1, 3, 224, 224)).astype(np.float32).round(3)
    body = json.dumps({"inputs": pixels.tolist()}).encode()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@champion", "-p", str(port),
               "--env-manager", "local"]
    with process(command, port, "/ping", MLFLOW_TRACKING_URI=registry.tracking_uri, MLFLOW_REGISTRY_URI=registry.tracking_uri,
                 MLFLOW_DISABLE_TELEMETRY="true") as (url, pid), talking_to(url) as client:
        def send() -> httpx.Response:
            return client.post("/invocations", content=body, headers={"content-type": "application/json"})
        return [{"server": "mlflow", **load(pid, send, clients=number, requests=requests, wells=1)} for number in clients]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trunk", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224, help="pixels of the TIFFs' sides")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--plates", type=int, default=4, help="requests of dosewell; at least one per client")
    parser.add_argument("--wells", type=int, choices=(96, 384), default=96, help="of a plate")
    parser.add_argument("--together", type=int, default=1, help="plates in one request")
    parser.add_argument("--requests", type=int, default=96, help="of a well each, of the other servers")
    parser.add_argument("--workers", type=int, default=Settings.workers, help="DOSEWELL_WORKERS")
    parser.add_argument("--threads", type=int, default=Settings.scoring_threads, help="DOSEWELL_SCORING_THREADS of each")
    parser.add_argument("--alone", action="store_true", help="without the other servers")
    parser.add_argument("--random-head", action="store_true", help="a model that has learned nothing")
    parser.add_argument("--bf16", action="store_true", help="as if the model's card allowed bfloat16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dosewell-service-") as name:
        folder = Path(name)
        archives, layout = plates_of(folder, size=arguments.size, wells=arguments.wells, plates=arguments.together)
        archive = archives[0]
        head = random_head if arguments.random_head else partial(fitted_head, archive=archive, layout=layout)
        registry = register(folder, count=1, trunk=arguments.trunk, bf16=arguments.bf16, head=head)
        print(cpu())
        forward, decoding, clock = bare(registry, archive, repeats=7)
        rows = of_dosewell(folder, registry, archives, layout, wells=arguments.wells, clients=arguments.clients, requests=arguments.plates,
                           workers=arguments.workers, threads=arguments.threads)
        if not arguments.alone:
            rows += of_fastapi(folder, registry, archive, clients=arguments.clients, requests=arguments.requests)
            rows += of_mlflow(registry, clients=arguments.clients, requests=arguments.requests)
    table = pd.DataFrame(rows)
    bound = 1 / (1 / forward + 1 / decoding)
    table = table.assign(**{"of bare": table["wells/processor s"] / forward, "of the bound": table["wells/processor s"] / bound,
                            "of bare, by the clock": table["wells/s"] / clock})
    print(f"{arguments.trunk}, TIFFs of {arguments.size} pixels. Wells per processor second: bare forward pass {forward:.1f}, decoding "
          f"{decoding:.1f}, both {bound:.1f}")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
