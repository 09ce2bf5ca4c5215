"""Which of a processor's vector instructions the libraries of numbers use.

Each takes the widest that it finds, and a sum of sixteen parts at a time ends in other last bits than one of eight. Held to AVX2, which
x86 processors have had since 2013, the same data give the same models and scores on all of them. Read when the libraries are loaded:
so this module imports none, and `pipelines` and `serving` call `settle` before any other import.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "DOSEWELL_INSTRUCTIONS"
CHOICES = ("native", "portable")

_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",                                      # torch
    "ONEDNN_MAX_CPU_ISA": "AVX2",                                       # convolutions of torch and OpenVINO
    "MKL_CBWR": "COMPATIBLE",                                           # products of matrices of torch: Intel's and others' alike
    "OPENBLAS_CORETYPE": "Haswell",                                     # linear algebra of NumPy and SciPy
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",         # sorting, sums, logarithms of NumPy
}
_CPUINFO = Path("/proc/cpuinfo")


def settle(environment: MutableMapping[str, str] = os.environ, cpuinfo: Path = _CPUINFO) -> None:
    """Hold this process, and those that it starts, to AVX2 where the environment variable DOSEWELL_INSTRUCTIONS is `portable`. What is set
    already stays. Nothing happens where there is no AVX2, or no telling: a library that is held to what is not there crashes.
    """
    if environment.get(VARIABLE) != "portable" or not cpuinfo.is_file():
        return
    if "avx2" in cpuinfo.read_text(encoding="utf-8", errors="replace").split():
        for name, value in _AVX2.items():
            environment.setdefault(name, value)


def told(environment: MutableMapping[str, str] = os.environ) -> tuple[str, ...]:
    """What the libraries are told to use, by whomever: the last bits of all that they compute change with it."""
    return tuple(environment.get(name, "") for name in _AVX2)


def held_back(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Whether convolutions are kept from the widest instructions, bfloat16 among them, which the processor may have all the same."""
    return environment.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
