"""Tokenizers of files: what they say is bounded, and where they get out of hand a process of their own is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from foreign_tokenizers import END, VOCABULARY, nested, replace, sequence, split, tokenizer, write_over

import quantlib as ql
from quantlib.errors import CheckpointError
from quantlib.lm import Tokenizer
from quantlib.lm.tokenization import Isolated, bounded, runners

REQUESTS = 12
PATH = Path("somewhere/tokenizer.json")
HUGE_PADDING = {
    "strategy": {"Fixed": 10**12},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "a",
}
TRUNCATION = {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
PIECE = {"Sequence": {"id": "A", "type_id": 0}}
TEMPLATE = {"type": "TemplateProcessing", "single": [PIECE] * 9, "pair": [PIECE], "special_tokens": {}}
AROUND = {"padding": HUGE_PADDING, "truncation": TRUNCATION}


def isolated(**parts: object) -> Isolated:
    return Isolated(json.dumps(bounded(PATH, tokenizer(**parts))).encode(), str(PATH)).load()


def running() -> list:
    return [process for process in runners._running.values() if process.alive]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"padding": HUGE_PADDING},
        {"truncation": TRUNCATION},
        {"post_processor": TEMPLATE},
        {"model": {"vocab": VOCABULARY, "merges": ["a b"]}},  # as files of 2020 have it, without its type
        {"model": {"type": "BPE", "vocab": VOCABULARY, "merges": ["a b"], "dropout": 1.0}},
    ],
    ids=["honest", "padding", "truncation", "post_processor", "untyped", "dropout"],
)
def test_what_is_put_around_a_text_has_no_effect(parts):
    found = isolated(**parts)
    assert found.encode("abab</s>éx") == [2, 2, 7, 5, 3]
    assert found.decode([2, 7, 3]).replace(" ", "") == "abx"
    assert found.encode("") == []
    assert found.decode([]) == ""


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"normalizer": sequence([replace("a", "a" * 64)] * 8)}, "times longer"),
        ({"normalizer": sequence([replace("a", "aa")] * 7)}, "128 times longer"),
        ({"normalizer": sequence([sequence([replace("a", "aaa")])] * 6)}, "times longer"),
        ({"normalizer": sequence([{"type": "Prepend", "prepend": "a" * 100}])}, "101 times longer"),
        ({"decoder": sequence([replace("a", "a" * 64)] * 3, "decoders")}, "times longer"),
        ({"normalizer": sequence([{"type": "NFC"}] * 65)}, "more than 64 steps"),
        ({"normalizer": nested(9)}, "more than 8 deep"),
        ({"normalizer": sequence([{"type": "Run"}])}, "'Run'"),
        ({"normalizer": "NFC"}, "not an object"),
        ({"pre_tokenizer": split("a" * 20_000)}, "16,384 characters"),
        ({"pre_tokenizer": {"type": "Metaspace", "replacement": {"x": {}}}}, "nested"),
        ({"pre_tokenizer": {"type": ["ByteLevel"]}}, "not known"),
        ({"normalizer": sequence({"type": "NFC"})}, "array"),
        ({"model": {"type": "Neural", "vocab": {}}}, "'Neural'"),
        ({"model": {"type": "WordPiece", "vocab": VOCABULARY, "max_input_chars_per_word": 10**9}}, "10,000"),
        ({"model": None, "added_tokens": {}}, "array"),
    ],
)
def test_what_cannot_be_bounded_is_refused(parts, says):
    with pytest.raises(CheckpointError, match=says):
        bounded(PATH, tokenizer(**parts))


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"pre_tokenizer": split("(x+x+)+y")}, "x" * 40),
        ({"pre_tokenizer": split("((((a")}, "a"),
        ({"normalizer": replace("(x+x+)+y", "", "Regex")}, "x" * 40),
        ({"model": {"type": "BPE", "vocab": {"a": 2**40}, "merges": []}}, "a"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "\x1b]0;title\x07"]]}}, "a"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA////"}}, "abc"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "ab"),
    ],
    ids=["panic", "no expression", "normalizer", "id", "merge", "charsmap", "length"],
)
def test_the_library_s_errors_and_panics_are_sentences(parts, text):
    with pytest.raises(CheckpointError) as caught:
        isolated(**parts).encode(text)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 400


def test_time_is_limited(monkeypatch):
    """Each place of the text is tried to its end: four times the time for twice the text."""
    monkeypatch.setattr(runners, "SECONDS", 0.3)
    monkeypatch.setattr(runners, "SECONDS_OF_TEXT", 0.0)
    found = isolated(pre_tokenizer=split("a+b"))
    with pytest.raises(CheckpointError, match="was stopped: it took more than 0 s of processor time"):
        found.encode("a" * 300_000)
    assert found.encode("ab") == [2]  # in a new process


def test_memory_is_limited(monkeypatch):
    """Every letter becomes 60 times as many, three times over what is allowed for a step that matches nothing."""
    monkeypatch.setattr(runners, "MEMORY_OF_TEXT", 16)
    found = isolated(normalizer=replace("a", "b" * 60))
    with pytest.raises(CheckpointError, match="GB of memory"):
        found.encode("a" * 400_000)
    assert found.encode("a") == [1] * 60


def test_a_vocabulary_that_takes_too_much_memory_is_stopped(monkeypatch):
    monkeypatch.setattr(runners, "MEMORY", 2**27)
    monkeypatch.setattr(runners, "MEMORY_OF_FILE", 0)
    listed = [[f"{i:05}" + "é" * 150, -1.0] for i in range(5000)]
    with pytest.raises(CheckpointError, match="GB of memory"):
        isolated(model={"type": "Unigram", "unk_id": 0, "vocab": listed}, added_tokens=[])


def test_a_process_that_was_killed_is_started_again():
    found = isolated()
    for process in running():
        os.kill(process._popen.pid, signal.SIGKILL)
        process._popen.wait()
    assert found.encode("ab") == [2]


def test_a_process_without_work_ends_itself_and_nobody_notices(monkeypatch):
    command = runners._command()
    monkeypatch.setattr(runners, "_command", lambda: (*command[:-1], "0.05"))
    found = isolated(added_tokens=[END, END | {"id": 3, "content": "x"}])
    for _ in range(6):
        assert found.encode("abx") == [2, 3]
        time.sleep(0.06)


def test_many_at_once_share_few_processes(monkeypatch):
    """Twice as many tokenizers as processes, each asked from several threads."""
    monkeypatch.setattr(runners, "PROCESSES", 2)
    several = [isolated(model={"type": "BPE", "vocab": {"a": i}, "merges": []}) for i in range(2 * runners.PROCESSES)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: several[i % len(several)].encode("a" * 10), range(REQUESTS)))
    assert found == [[i % len(several)] * 10 for i in range(REQUESTS)]
    assert len(running()) <= runners.PROCESSES


def test_the_process_starts_with_the_library_alone():
    """Neither Streamlit nor numba nor numpy, so that a start takes a tenth of a second."""
    worker = Path(runners.__file__).with_name("worker.py")
    code = f"import runpy, sys; sys.path.insert(0, {runners._command()[-2]!r}); runpy.run_path({str(worker)!r})"
    code += "; import tokenizers; print([m for m in ('numpy', 'numba', 'streamlit', 'quantlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("part", AROUND)
def test_a_folder_s_tokenizer_is_bounded(part, tmp_path):
    folder = tiny_models.write("llama_bpe", tmp_path / "model")
    with ql.open_checkpoint(folder) as checkpoint:
        honest = Tokenizer.of(checkpoint).encode("The old king")
    with ql.open_checkpoint(write_over(folder, **{part: AROUND[part]})) as checkpoint:
        assert Tokenizer.of(checkpoint).encode("The old king") == honest


def test_half_a_character_is_told():
    with pytest.raises(CheckpointError, match="half of a character at position 2"):
        Tokenizer(isolated(), None, None).encode("ab\ud800")


WORDS = (None, True, -1, 2**32, 1e308, "", "\0", "a" * 20_000, [], {}, [[]], {"type": "Sequence"}, "(a+)+$", "Split")


def mutant(value: object, rng: np.random.Generator) -> object:
    """The value with one part of it, anywhere, in place of another or of a word."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = list(value)[rng.integers(len(value))]
        return value | {key: mutant(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = int(rng.integers(len(value)))
        return [*value[:at], mutant(value[at], rng), *value[at + 1 :]]
    return WORDS[rng.integers(len(WORDS))]


RICH = tokenizer(
    normalizer=sequence([{"type": "NFKC"}, replace(" {2,}", " ", "Regex"), {"type": "Prepend", "prepend": " "}]),
    pre_tokenizer=sequence([split(r"\s+|\w+"), {"type": "Digits", "individual_digits": True}], "pretokenizers"),
    decoder=sequence([replace("x", "y"), {"type": "Fuse"}, {"type": "ByteFallback"}], "decoders"),
    padding=HUGE_PADDING,
)


def test_mutants_are_run_or_refused(monkeypatch):
    """Each that is bounded starts a process, so there are few; QUANTLIB_MUTANTS makes more."""
    monkeypatch.setattr(runners, "SECONDS", 1.0)
    rng, done = np.random.default_rng(8), {"run": 0, "refused": 0}
    for _ in range(int(os.environ.get("QUANTLIB_MUTANTS", 2000)) // 80):
        part = list(RICH)[rng.integers(len(RICH))]
        changed = RICH | {part: mutant(RICH[part], rng)}
        try:
            found = Isolated(json.dumps(bounded(PATH, changed)).encode(), str(PATH)).load()
            assert all(isinstance(number, int) for number in found.encode("ab  xy 12 é" * 20))
            assert isinstance(found.decode([0, 1, 2, 3]), str)
            done["run"] += 1
        except CheckpointError as error:
            assert str(error).isprintable()
            assert str(error).endswith(".")
            done["refused"] += 1
    assert min(done.values()) > 2, done
