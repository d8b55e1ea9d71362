"""What is in a file costs time and memory in proportion to its size, when it is opened and whenever it is used.

Each file is made in two sizes, and each use of the larger may take so much more time than of the smaller and no more.
All run under limits of memory and processor time, so that what blows up fails here and takes nothing with it.
"""

import gc
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from safetensors.numpy import load_file, save_file

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints import Checkpoint, MetadataValue, gguf_view, write_gguf
from quantlib.errors import QuantlibError
from quantlib.figures import strip
from quantlib.lm import Tokenizer

resource = pytest.importorskip("resource")  # limits of a process, which not every system has

LARGER = 4  # times
FACTOR, FREE_SECONDS = 6, 0.3  # what the larger may cost: so many times the smaller's processor time, and this
MOST_SECONDS, MOST_BYTES = 10.0, 2**29  # of one use


@contextmanager
def limits() -> Iterator[None]:
    """At most MOST_SECONDS of processor time and MOST_BYTES more memory than now, or an exception."""

    def late(*_: object) -> None:
        raise AssertionError(f"took more than {MOST_SECONDS} s of processor time")

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 2**22
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


# --- what is done with a file: each with the checkpoint and its tokenizer, where it has one ---


def _vocabulary(checkpoint: Checkpoint) -> None:
    view = gguf_view(checkpoint)
    tables.metadata(view, 20_000)
    if view.value("tokenizer.ggml.tokens") is not None:
        tables.vocabulary(view, 0, 1000, "q")


USES: dict[str, Callable[[Checkpoint], object]] = {
    "view": gguf_view,
    "vocabulary": _vocabulary,
    "tokens": lambda checkpoint: Tokenizer.of(checkpoint).encode("The old king looked out. " * 40),
    "plan": lambda checkpoint: ql.plan(checkpoint, "Q4_K_M"),
    "tables": lambda checkpoint: (
        tables.as_csv(tables.tensors(checkpoint)),
        tables.as_text(tables.metadata(checkpoint)),
    ),
    "strip": lambda checkpoint: strip.strip_svg(checkpoint, "what it does"),
}


@pytest.fixture(autouse=True)
def only_new_objects() -> Iterator[None]:
    """What other tests left in memory is not the garbage collector's business here: walking it takes 0.3 s and more."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def cost(action: Callable[[], object]) -> float:
    """Seconds of processor time that an action takes, whether it succeeds or is refused in a sentence."""
    started = time.process_time()
    try:
        with limits():
            action()
    except QuantlibError as error:
        assert len(str(error)) < 600
    return time.process_time() - started


def costs(path: Path) -> dict[str, float]:
    """The cost of opening a file and of each use of it."""
    opened: list[Checkpoint] = []
    found = {"open": cost(lambda: opened.append(ql.open_checkpoint(path)))}
    for checkpoint in opened:
        with checkpoint:
            for name, use in USES.items():
                found[name] = cost(partial(use, checkpoint))
    return found


# --- files of a size ---


def _gguf(folder: Path, **tokenizer: MetadataValue) -> Path:
    path = folder / "model.gguf"
    metadata = {"general.architecture": MetadataValue("string", "llama")}
    with open(path, "wb") as file:
        write_gguf(file, metadata | {f"tokenizer.ggml.{key}": value for key, value in tokenizer.items()}, [])
    return path


def _tokens(folder: Path, model: str, tokens: list[str], kind: int = 1) -> Path:
    return _gguf(
        folder,
        model=MetadataValue("string", model),
        tokens=MetadataValue("array[string]", tokens),
        token_type=MetadataValue("array[int32]", np.full(len(tokens), kind, np.int32)),
        scores=MetadataValue("array[float32]", np.zeros(len(tokens), np.float32)),
    )


def _runs(characters: int) -> list[str]:
    """Ever longer runs of one letter, of so many characters together."""
    return ["a" * length for length in range(1, int((2 * characters) ** 0.5))]


def _folder(folder: Path, name: str, change: Callable[[dict], object]) -> Path:
    """An honest folder in which one JSON file was changed."""
    shutil.copytree(_honest(folder), folder / "model")
    path = folder / "model" / name
    value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path.parent


def _honest(folder: Path) -> Path:
    return tiny_models.write("llama_bpe", folder / "honest")


def _larger(folder: Path, name: str, change: Callable[[dict], object], more: int) -> Path:
    """The same with so many more rows in the embedding, so that tokens with their numbers are taken for true."""
    path = _folder(folder, name, change)
    weights = load_file(path / "model.safetensors")
    for tensor in ("model.embed_tokens.weight", "lm_head.weight"):
        if tensor in weights:
            rows = np.zeros((more, weights[tensor].shape[1]), np.float32)
            weights[tensor] = np.concatenate([weights[tensor], rows])
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + more}))
    save_file(weights, path / "model.safetensors")
    return path


def _card(folder: Path, yaml: str) -> Path:
    path = _honest(folder)
    (path / "README.md").write_text(f"---\n{yaml}\n---\n", encoding="utf-8")
    return path


def _added(count: int) -> list[dict[str, object]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    return [
        {"id": 2048 + i, "content": f"<{i}>", "normalized": i % 3 == 0, "special": i % 2 == 0} | flags
        for i in range(count)
    ]


def _templates(count: int) -> list[dict[str, str]]:
    return [{"name": f"t{i}", "template": "{{ x }}"} for i in range(count)]


def _more_tensors(folder: Path, count: int) -> Path:
    path = _honest(folder)
    more = {f"model.layers.{i}.mlp.extra.weight": np.zeros((1, 32), np.float32) for i in range(count)}
    save_file(load_file(path / "model.safetensors") | more, path / "model.safetensors")
    return path


FILES: dict[str, tuple[int, Callable[[Path, int], Path]]] = {
    "tokens": (5_000, lambda f, n: _tokens(f, "gpt2", [f"t{i}" for i in range(n)])),
    "control tokens": (2_000, lambda f, n: _tokens(f, "gpt2", [f"t{i}" for i in range(n)], kind=3)),
    "tokens of the user": (2_000, lambda f, n: _tokens(f, "llama", [f"t{i}" for i in range(n)], kind=4)),
    "one long token": (50_000, lambda f, n: _tokens(f, "llama", ["a", "b", "c" * n])),
    "one long control token": (50_000, lambda f, n: _tokens(f, "gpt2", ["a", "b", "c" * n], kind=3)),
    "few runs of a letter": (10_000, lambda f, n: _tokens(f, "llama", _runs(n))),
    "runs of a letter": (500_000, lambda f, n: _tokens(f, "llama", _runs(n))),
    "odd runs of a letter": (200_000, lambda f, n: _tokens(f, "llama", _runs(n)[::2])),
    "keys": (1_000, lambda f, n: _gguf(f, **{f"k{i}": MetadataValue("uint32", i) for i in range(n)})),
    "template": (200_000, lambda f, n: _gguf(f, chat_template=MetadataValue("string", "{{ 10**9 }}" * (n // 11)))),
    "added tokens": (
        500,
        lambda f, n: _larger(f, "tokenizer.json", lambda t: t["added_tokens"].extend(_added(n)), n),
    ),
    "words of the folder": (
        2_000,
        lambda f, n: _larger(
            f, "tokenizer.json", lambda t: t["model"]["vocab"].update({f"zz{i}": 2048 + i for i in range(n)}), n
        ),
    ),
    "special tokens": (
        2_000,
        lambda f, n: _folder(
            f, "tokenizer_config.json", lambda t: t.update(extra_special_tokens=[f"<{i}>" for i in range(n)])
        ),
    ),
    "config": (5_000, lambda f, n: _folder(f, "config.json", lambda c: c.update({f"k{i}": [i] for i in range(n)}))),
    "layers": (10**6, lambda f, n: _folder(f, "config.json", lambda c: c.update(num_hidden_layers=n))),
    "vocabulary size": (10**6, lambda f, n: _folder(f, "config.json", lambda c: c.update(vocab_size=n))),
    "tags of the card": (500, lambda f, n: _card(f, "tags:\n" + "".join(f"- a{i}\n" for i in range(n)))),
    "nested card": (1_000, lambda f, n: _card(f, "x: " + "[" * n + "]" * n)),
    "card that repeats itself": (
        20,
        lambda f, n: _card(f, "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, n))),
    ),
    "templates": (
        1_000,
        lambda f, n: _folder(f, "tokenizer_config.json", lambda t: t.update(chat_template=_templates(n))),
    ),
    "tensors": (250, _more_tensors),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory):
    """What is loaded at the first use of all is no file's cost."""
    with ql.open_checkpoint(_honest(tmp_path_factory.mktemp("first"))) as checkpoint:
        for use in USES.values():
            use(checkpoint)


@pytest.mark.parametrize("kind", FILES)
def test_costs_grow_with_the_size(kind, tmp_path):
    size, make = FILES[kind]
    found = []
    for n in (size, LARGER * size):
        folder = tmp_path / str(n)
        folder.mkdir()
        found.append(costs(make(folder, n)))
    smaller, larger = found
    for use, dear in larger.items():
        cheap = smaller.get(use, 0.0)
        assert dear <= FACTOR * cheap + FREE_SECONDS, f"{use}: {cheap:.2f} s became {dear:.2f} s"
