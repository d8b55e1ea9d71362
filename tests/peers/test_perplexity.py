"""Perplexity and divergence against llama.cpp's logits, by llama-perplexity's definition; the importance matrix against
what llama.cpp multiplies, and in its quantizer.
"""

import ctypes

import numpy as np
import pytest

import quantlib as ql
from quantlib.checkpoints import read_imatrix, write_imatrix
from quantlib.lm import Comparison, Tokenizer, baseline, compare, cut_texts, imatrix, load, perplexity_of, read_texts
from quantlib.lm.comparison import compared
from quantlib.lm.texts import EVALUATION

pytestmark = pytest.mark.peer

CONTEXT, WINDOWS = 128, 6


@pytest.fixture(scope="module")
def files(peer, demo_model, tmp_path_factory):
    """The demo model as two GGUF files, with the windows of a text."""
    peer("llama_cpp")
    folder = tmp_path_factory.mktemp("perplexity")
    checkpoint = ql.open_checkpoint(demo_model)
    for recipe in ("F32", "Q4_K_M"):
        ql.run(ql.plan(checkpoint, recipe), folder / f"{recipe}.gguf")
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    tokens = tokenizer.encode(next(iter(read_texts(EVALUATION[:1]).values())))[: CONTEXT * WINDOWS]
    text = tokenizer.decode(tokens)
    return folder, cut_texts(model, tokenizer, {"story": text}, CONTEXT)["story"]


def their_log_probabilities(peer, path, windows) -> np.ndarray:
    """llama.cpp's, before each scored token: float64 (windows, scored, vocabulary)."""
    llama = peer("llama_cpp").Llama(
        str(path), n_ctx=CONTEXT, n_batch=CONTEXT, n_threads=2, logits_all=True, verbose=False
    )
    out = []
    for row in windows.shown(slice(None)):
        llama.reset()
        llama.eval(row.tolist())
        x = np.array(llama.scores[windows.first : CONTEXT - 1]).astype(np.float64)
        out.append(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))
    return np.array(out)


@pytest.fixture(scope="module")
def theirs(peer, files):
    folder, windows = files
    return {r: their_log_probabilities(peer, folder / f"{r}.gguf", windows) for r in ("F32", "Q4_K_M")}


@pytest.mark.parametrize(("recipe", "tolerance"), [("F32", 0.001), ("Q4_K_M", 0.005)])
def test_perplexity_is_that_of_llama_perplexity(files, theirs, recipe, tolerance):
    """In Q4_K_M llama.cpp rounds the activations to 8 bits too."""
    folder, windows = files
    with ql.open_checkpoint(folder / f"{recipe}.gguf") as file:
        ours = perplexity_of(load(file), windows)
    losses = -np.take_along_axis(theirs[recipe], windows.targets[..., None], axis=-1)
    assert ours.tokens == losses.size
    assert ours.value == pytest.approx(np.exp(losses.mean()), rel=tolerance)
    assert ours.stderr == pytest.approx(np.exp(losses.mean()) * losses.std() / np.sqrt(losses.size - 1), rel=0.01)


def test_divergence_is_that_of_llama_perplexity(files, theirs):
    """By the same definitions on the same logits; on our own logits as near as activations in 8 bits, which only
    llama.cpp's products of block formats have, allow: they add about a seventh to the divergence of Q4_K_M.
    """
    folder, windows = files
    base, found = theirs["F32"], theirs["Q4_K_M"]
    divergence = (np.exp(base) * (base - found)).sum(-1)
    p = [np.exp(np.take_along_axis(x, windows.targets[..., None], -1)) for x in (base, found)]
    changed, moved = (base.argmax(-1) != found.argmax(-1)).mean(), np.sqrt(((p[1] - p[0]) ** 2).mean())
    flat = [x.reshape(-1, x.shape[-1]).astype(np.float32) for x in (found, base)]
    same = Comparison(windows, *compared(windows.targets.ravel(), *flat)).summary()
    assert same.kl == pytest.approx(divergence.mean(), rel=1e-3)
    assert same.kl_percentiles["99"] == pytest.approx(np.percentile(divergence, 99), rel=1e-3)
    assert same.changed_top == changed
    assert same.probability_change_rms == pytest.approx(moved, rel=1e-3)
    with ql.open_checkpoint(folder / "F32.gguf") as one, ql.open_checkpoint(folder / "Q4_K_M.gguf") as other:
        ours = compare(load(other), baseline(load(one), windows)).summary()
    assert ours.kl == pytest.approx(divergence.mean(), rel=0.25)
    assert ours.changed_top == pytest.approx(changed, abs=0.02)
    assert ours.probability_change_rms == pytest.approx(moved, rel=0.25)


class GgmlTensor(ctypes.Structure):
    """ggml_tensor of ggml.h, as far as the name."""

    _fields_ = (
        ("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int), ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10), ("view_src", ctypes.c_void_p), ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64),
    )  # fmt: skip


def their_sums(llama_cpp, path, windows) -> dict[str, np.ndarray]:
    """Sums of squares of what each matrix in llama.cpp is multiplied with, through the hook that llama-imatrix uses."""
    sums: dict[str, np.ndarray] = {}

    def collect(pointer, ask, _):
        tensor = ctypes.cast(pointer, ctypes.POINTER(GgmlTensor)).contents
        weight = ctypes.cast(tensor.src[0], ctypes.POINTER(GgmlTensor)) if tensor.src[0] else None
        name = weight.contents.name.decode() if weight else ""
        wanted = name.startswith("blk.") and name.endswith(".weight") and tensor.src[1] and "norm" not in name
        if not ask and wanted:
            x = ctypes.cast(tensor.src[1], ctypes.POINTER(GgmlTensor)).contents
            values = np.ctypeslib.as_array(ctypes.cast(x.data, ctypes.POINTER(ctypes.c_float)), (x.ne[1], x.ne[0]))
            sums[name] = sums.get(name, 0) + (values.astype(np.float64) ** 2).sum(0)
        return bool(wanted)

    kind = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
    callback = kind(collect)
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
    params.n_threads = params.n_threads_batch = 2
    params.cb_eval = ctypes.cast(callback, type(params.cb_eval))
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(CONTEXT, 0, 1)
    for row in windows.shown(slice(None)):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        batch.n_tokens = CONTEXT
        for i, token in enumerate(row.tolist()):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
            batch.seq_id[i][0], batch.logits[i] = 0, 1
        assert llama_cpp.llama_decode(context, batch) == 0
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return sums


def test_the_importance_matrix_is_that_of_llama_imatrix(peer, files):
    folder, windows = files
    theirs = their_sums(peer("llama_cpp"), folder / "F32.gguf", windows)
    with ql.open_checkpoint(folder / "F32.gguf") as file:
        ours = imatrix(load(file), windows.tokens.ravel(), CONTEXT, windows.bos)
    assert set(ours.sums) == set(theirs)
    for name, total in theirs.items():
        np.testing.assert_allclose(ours.sums[name][0], total, rtol=0.01, err_msg=name)


def test_llama_quantize_takes_our_importance_matrix(peer, files, tmp_path):
    """The file, read by the gguf package and given to llama.cpp's quantizer, steers it to the bytes that we write."""
    llama_cpp, gguf = peer("llama_cpp"), peer("gguf")
    folder, windows = files
    source, path = folder / "F32.gguf", tmp_path / "imatrix.gguf"
    with ql.open_checkpoint(source) as file:
        write_imatrix(imatrix(load(file), windows.tokens.ravel(), CONTEXT, windows.bos, dataset="s"), path)
        plan = ql.plan(file, "Q4_K_M", read_imatrix(path))
        ql.run(plan, tmp_path / "ours.gguf")
    read = {t.name: np.array(t.data, np.float32) for t in gguf.GGUFReader(path).tensors}
    means = {n[: -len(".in_sum2")]: v / read[n.replace("in_sum2", "counts")] for n, v in read.items() if "in_sum2" in n}
    kind = type(llama_cpp.llama_model_quantize_default_params().imatrix)._type_
    entries = (kind * (len(means) + 1))()
    for entry, (name, values) in zip(entries, means.items(), strict=False):
        entry.name, entry.size = name.encode(), values.size
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, 2
    params.imatrix = ctypes.cast(entries, type(params.imatrix))
    theirs = tmp_path / "theirs.gguf"
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(theirs).encode(), ctypes.byref(params)) == 0
    with ql.open_checkpoint(theirs) as one, ql.open_checkpoint(tmp_path / "ours.gguf") as other:
        for name, tensor in one.tensors.items():
            np.testing.assert_array_equal(other.tensors[name].raw(), tensor.raw(), err_msg=name)
