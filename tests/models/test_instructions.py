import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.instructions import held_back, settle
from models.kept import maker


def cpuinfo(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"model name\t: Some CPU\nflags\t\t: fpu sse2 {flags}\nbugs\t\t: spectre_v1\n")
    return path


@pytest.mark.parametrize("flags", ["avx2 avx512f", "avx2"])
def test_portable_holds_the_libraries_to_avx2_and_leaves_what_is_set(tmp_path: Path, flags: str) -> None:
    environment = {"DOSEWELL_INSTRUCTIONS": "portable", "OPENBLAS_CORETYPE": "Zen"}
    settle(environment, cpuinfo(tmp_path, flags))
    assert (environment["ATEN_CPU_CAPABILITY"], environment["ONEDNN_MAX_CPU_ISA"]) == ("avx2", "AVX2")
    assert environment["OPENBLAS_CORETYPE"] == "Zen"
    assert held_back(environment)


@pytest.mark.parametrize(("word", "flags"), [("native", "avx2"), ("", "avx2"), ("portable", "avx sse4_2")])
def test_nothing_is_held_back_unasked_or_where_avx2_is_missing(tmp_path: Path, word: str, flags: str) -> None:
    environment = {"DOSEWELL_INSTRUCTIONS": word}
    settle(environment, cpuinfo(tmp_path, flags))
    settle(environment, tmp_path / "no-linux")
    assert environment == {"DOSEWELL_INSTRUCTIONS": word}
    assert not held_back(environment)


@pytest.mark.parametrize("isa", ["avx512_core", "AVX2"])
def test_a_processor_that_is_held_back_has_no_bfloat16(isa: str) -> None:
    """OpenVINO says that it has, and then cannot compile."""
    program = "from models.networks.forward import has_bf16; print(has_bf16())"
    assert printed(program, ONEDNN_MAX_CPU_ISA=isa) == "False"


def printed(program: str, **environment: str) -> str:
    """What a fresh Python prints."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return run.stdout.strip()


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file() or "avx2" not in Path("/proc/cpuinfo").read_text().split(), reason="no AVX2")
@pytest.mark.parametrize("package", ["pipelines", "serving"])
def test_both_packages_settle_it_before_the_libraries_are_loaded(package: str) -> None:
    program = (f"import {package}, torch; from numpy._core._multiarray_umath import __cpu_features__ as there; "
               "print(torch.backends.cpu.get_cpu_capability(), there['X86_V4'])")
    assert printed(program, DOSEWELL_INSTRUCTIONS="portable") == "AVX2 False"


def test_what_is_kept_is_made_anew_where_the_libraries_are_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whomever: each variable alone changes the last bits as `portable` does, and `native` says what nobody needs to say."""
    def made() -> str:
        return maker.__wrapped__(Path(__file__))
    for name in ("ONEDNN_MAX_CPU_ISA", "DOSEWELL_INSTRUCTIONS"):
        monkeypatch.delenv(name, raising=False)
    before = made()
    monkeypatch.setenv("DOSEWELL_INSTRUCTIONS", "native")
    assert made() == before
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert made() != before


def test_a_wrong_word_is_named() -> None:
    run = subprocess.run([sys.executable, "-m", "pipelines.validate", "--help"], capture_output=True, text=True, check=False,
                         env={**os.environ, "DOSEWELL_INSTRUCTIONS": "avx2"})
    assert run.returncode == 1
    assert "environment variable DOSEWELL_INSTRUCTIONS must be native or portable, got 'avx2'" in run.stderr


MEASURE = """
import hashlib, json
import numpy as np
from models.plates.measures import measure_stack, with_gradients
rng = np.random.default_rng(1)
found = []
for seed in range(12):
    grey = np.kron(rng.integers(0, 100, (14, 14)), np.ones((16, 16), int)) + rng.integers(0, 30, (3, 224, 224))
    stack = grey.astype(np.uint16) * 37
    found += [measure_stack(stack, stack[1]), measure_stack(stack, stack.mean(axis=0))]
print(hashlib.md5(json.dumps(with_gradients(found)).encode()).hexdigest())
"""


@pytest.mark.parametrize("narrower", [{"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL"}, {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
                                      {"OPENBLAS_CORETYPE": "Nehalem"}], ids=str)
def test_measures_of_images_are_the_same_on_every_processor(narrower: dict[str, str]) -> None:
    """To the last bit: quality tables, and what DVC says of `prepare`, do not change with the machine."""
    assert printed(MEASURE, **narrower) == printed(MEASURE)
