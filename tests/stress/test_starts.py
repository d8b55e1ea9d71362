"""The main job, started again and again, four at once on a busy machine: each run ends well and writes the same bytes.

QUANTLIB_STRESS=full pytest tests/stress -s     # 200 starts, 10 more without compiled kernels, 20 servers
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from amount import AMOUNT, AT_ONCE, FULL, busy_processor
from safetensors.numpy import save_file

from quantlib.checkpoints.imatrix import ImportanceSums, write_imatrix
from quantlib.cli import main
from quantlib.recipes import RECIPES

ROOT = Path(__file__).parents[2]
NAMES = [f"blk.{layer}.{part}.weight" for layer in range(2) for part in ("attn_q", "attn_v", "ffn_down")]
FAMILIES = (  # one of each family of kernels
    *("Q4_K_M", "Q8_0", "Q3_K_M", "IQ4_XS", "Q5_1", "MXFP4_MOE", "IQ3_S", "TQ2_0", "IQ2_XS", "Q2_K", "IQ1_S", "Q1_0"),
)
COMPILED_SOON = ("Q8_0", "Q4_0")


class Job:
    """Quantizing a few small matrices: threads come to their first kernel at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(3)
        weights = {name: rng.standard_t(5, (8, 256)).astype(np.float32) for name in NAMES}
        save_file(weights, folder / "small.safetensors")
        sums = {name: rng.uniform(1, 9, (1, 256)).astype(np.float32) for name in NAMES}
        counts = dict.fromkeys(NAMES, np.ones(1, np.float32))
        write_imatrix(ImportanceSums(sums, counts, ("words",), 1, 512), folder / "small.imatrix.gguf")

    def arguments(self, recipe: str, output: Path) -> list[str]:
        files = [str(self.folder / "small.safetensors"), str(output)]
        return ["quantize", *files, "--recipe", recipe, "--imatrix", str(self.folder / "small.imatrix.gguf")]

    def expected(self, recipe: str) -> str:
        """The digest of what this process writes."""
        output = self.folder / f"{recipe}.gguf"
        assert main(self.arguments(recipe, output)) == 0
        return sha256(output.read_bytes()).hexdigest()

    def start(self, number: int, recipe: str, cache: Path | None) -> tuple[str, float]:
        """Run the command line: the digest of what it wrote, or what it said; and the seconds it took."""
        output = self.folder / f"{number}.gguf"
        environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": str(cache)})
        command = [sys.executable, "-m", "quantlib", *self.arguments(recipe, output)]
        began = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        seconds = time.monotonic() - began
        if done.returncode:
            return f"{recipe}: status {done.returncode}: {done.stderr}", seconds
        digest = sha256(output.read_bytes()).hexdigest()
        output.unlink()
        return digest, seconds

    def start_all(self, recipes: Sequence[str], caches: Sequence[Path | None]) -> list[str]:
        """What went wrong in as many starts, four at once."""
        expected = {recipe: self.expected(recipe) for recipe in dict.fromkeys(recipes)}
        with busy_processor(), ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(self.start, range(len(recipes)), recipes, caches))
        seconds = sorted(seconds for _, seconds in results)
        print(f"\n{len(seconds)} starts: median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s")
        return [said for (said, _), recipe in zip(results, recipes, strict=True) if said != expected[recipe]]


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


def test_starts_with_compiled_kernels(job):
    recipes = list(islice(cycle(RECIPES if FULL else FAMILIES), AMOUNT.warm))
    assert job.start_all(recipes, [None] * len(recipes)) == []


def test_starts_without_compiled_kernels(job, tmp_path):
    """Each four share an empty folder and, by twos, what they compile: all of it is written by two at once."""
    pairs = [FAMILIES[i : i + 2] * 2 for i in range(0, len(FAMILIES), 2)] if FULL else [COMPILED_SOON * 2]
    recipes = [recipe for pair in pairs for recipe in pair][: AMOUNT.cold]
    caches = [tmp_path / f"kernels {number // AT_ONCE}" for number in range(len(recipes))]
    assert job.start_all(recipes, caches) == []
