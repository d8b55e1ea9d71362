"""What is unusual about tensors: planted faults are found, samples are spread out, and unused vocabulary is counted."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints import MetadataValue, write_gguf
from quantlib.inspection import MEASURES, all_statistics, ranked, remarks, seen_of, statistics, vocabulary
from quantlib.inspection.chunks import ranges


def opened(path, **tensors):
    save_file({name.replace("__", "."): x for name, x in tensors.items()}, path)
    return ql.open_checkpoint(path)


def faulty(rng) -> dict[str, np.ndarray]:
    """A healthy matrix, and one for each fault."""
    healthy = rng.standard_normal((96, 64)).astype(np.float32)
    spiked, zeroed, dead, damaged = (healthy.copy() for _ in range(4))
    spiked[5, 7] = 300
    zeroed[rng.random(zeroed.shape) < 0.3] = 0
    dead[:, 11] = 0
    dead[3] = 0
    damaged[0, :3] = np.nan
    return {"healthy": healthy, "spiked": spiked, "zeroed": zeroed, "dead": dead, "damaged": damaged}


def test_planted_faults_are_found_and_nothing_else(tmp_path):
    checkpoint = opened(tmp_path / "a.safetensors", **faulty(np.random.default_rng(2)))
    found = {(remark.name, remark.measure): remark.value for remark in remarks(all_statistics(checkpoint))}
    assert found.pop(("spiked", "largest / RMS")) > 70
    assert found.pop(("spiked", "excess kurtosis")) > 1000
    assert found.pop(("zeroed", "share of zeros")) == pytest.approx(0.3, abs=0.03)
    assert found.pop(("dead", "dead channels")) == 2
    assert found.pop(("dead", "share of zeros")) == pytest.approx((96 + 63) / (96 * 64))
    assert found.pop(("damaged", "not finite")) == 3
    assert not found


def test_a_ranking_begins_with_the_largest(tmp_path):
    rows = list(all_statistics(opened(tmp_path / "a.safetensors", **faulty(np.random.default_rng(2)))))
    for measure in MEASURES.values():
        values = [value for _, value in ranked(rows, measure)]
        assert values == sorted(values, reverse=True)
    assert tables.unusual(rows, MEASURES["largest / RMS"], 2)[0]["name"] == "spiked"


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 100_000))
def test_a_sample_is_spread_out_without_overlap(rows, n, most):
    tensor = ql.Tensor("w", (rows, n), "FP32", 4 * rows * n, lambda start, stop: None)
    found = ranges(tensor, most)
    assert (all(a < b for a, b in found) and found[-1][1] == rows) or len(found) == 1
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(found)), "a row is read once"
    read = sum(stop - start for start, stop in found)
    assert read <= max(1, most // n) or rows * n <= most
    if rows * n <= most:
        assert read == rows


def test_a_sample_says_how_much_it_saw(tmp_path):
    x = np.random.default_rng(1).standard_normal((4000, 64)).astype(np.float32)
    tensor = opened(tmp_path / "a.safetensors", w=x).tensors["w"]
    part, whole = statistics(tensor, most=20_000), statistics(tensor)
    assert part.sampled and 10_000 < part.seen <= 20_000 and not whole.sampled
    assert part.rms == pytest.approx(whole.rms, rel=0.05)
    assert seen_of([part, whole]) == (part.seen + x.size, 2 * x.size)


def test_few_rows_of_a_sample_tell_no_dead_columns(tmp_path):
    x = np.zeros((4000, 64), np.float32)
    x[1::2] = 1
    part = statistics(opened(tmp_path / "a.safetensors", w=x).tensors["w"], most=64 * 4)
    assert MEASURES["dead channels"].value(part) is None


def with_vocabulary(path, rows: int, tokens: int, unused: int, alike: int):
    x = np.random.default_rng(4).standard_normal((rows, 32)).astype(np.float32)
    x[rows - alike :] = x[rows - alike]
    types = [1] * (tokens - unused) + [5] * unused
    metadata = {
        "general.architecture": MetadataValue("string", "llama"),
        "tokenizer.ggml.tokens": MetadataValue("array[string]", [f"t{i}" for i in range(tokens)]),
        "tokenizer.ggml.token_type": MetadataValue("array[int32]", types),
    }
    with open(path, "wb") as file:
        write_gguf(file, metadata, [(("token_embd.weight", x.shape, "FP32"), [x.view(np.uint8)])])
    return ql.open_checkpoint(path)


@pytest.mark.parametrize("rows", [200, 6000])
def test_unused_vocabulary_is_counted(tmp_path, rows):
    found = vocabulary(with_vocabulary(tmp_path / "v.gguf", rows, rows - 30, 10, 25))
    assert (found.rows, found.beyond, found.marked, found.alike) == (rows, 30, 10, 24)
    assert len(found.sentences()) == 3
