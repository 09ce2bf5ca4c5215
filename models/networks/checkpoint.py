"""Checkpoints of a training in progress: safetensors and JSON, never a pickle, so that a killed training goes on exactly.

All randomness of an epoch derives from (seed, epoch), so no generator state needs saving.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.whole_file import whole_file


@dataclass
class Progress:
    """Where a training stands. epochs: one record per finished epoch; best: state of the best epoch so far; finished: nothing is
    left to do, and the module's state is the one to keep.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = -1
    best: dict[str, Tensor] = field(default_factory=dict)
    finished: bool = False


def save_checkpoint(folder: Path, *, key: str, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Replace the folder's checkpoint atomically. key: hash of everything that defines the training.

    Of a finished training only the module's state is kept: a quarter of the disk.
    """
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    if not progress.finished:
        tensors |= {f"best/{name}": value for name, value in progress.best.items()}
        tensors |= {f"optimizer/{index}/{name}": value for index, values in optimizer.state_dict()["state"].items()
                    for name, value in values.items() if isinstance(value, Tensor)}
    facts = {"key": key, "epochs": progress.epochs, "best_loss": progress.best_loss, "best_epoch": progress.best_epoch,
             "finished": progress.finished}
    with whole_file(folder / "checkpoint.safetensors") as making:
        save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, making,
                  metadata={"facts": json.dumps(facts)})


def load_checkpoint(folder: Path, *, key: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore module and optimizer and return the progress; a fresh Progress where there is no checkpoint of this key."""
    path = folder / "checkpoint.safetensors"
    if not path.is_file():
        return Progress()
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping
    if facts["key"] != key:
        return Progress()
    module.load_state_dict(_part(tensors, "module"))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer").items():
        index, _, entry = name.partition("/")
        state.setdefault(int(index), {})[entry] = _laid_out(value, parameters[int(index)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return Progress(facts["epochs"], facts["best_loss"], facts["best_epoch"], _part(tensors, "best"), facts.get("finished", False))


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """The value in memory as the parameter that it is of (channels last, say): a fused step on a GPU takes no other."""
    return torch.empty_like(parameter, device=value.device).copy_(value) if value.shape == parameter.shape else value


def clear_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in the subfolders of `folder`, when all that they were for is done."""
    for path in folder.glob("*/checkpoint.safetensors"):
        shutil.rmtree(path.parent, ignore_errors=True)


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}/"): value for name, value in tensors.items() if name.startswith(f"{part}/")}
