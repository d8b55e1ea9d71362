"""Makes `requantize.json` again: sha256 of the files that llama-quantize writes, recipe by recipe.

    pip install llama-cpp-python==0.3.36
    python tests/golden/make_requantize.py [--check]

The sources are what tests/jobs/test_requantize.py writes. The library does the work; what the program llama-quantize
adds around it (the keys of an importance matrix, and the recipes that it refuses without one) is added here too.
--check writes nothing and says whether anything would differ.
"""

import ctypes
import json
import sys
import tempfile
from pathlib import Path

FILE = Path(__file__).with_name("requantize.json")
sys.path[:0] = [str(FILE.parents[2]), str(FILE.parents[1] / "jobs")]
VARIANTS = ("", "+imatrix", "+pure")
# Without an importance matrix the program refuses these; of others it is the library that refuses a tensor's format.
REFUSED = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K_S")


def importance(path: Path) -> dict:
    """What llama-quantize takes from a file of importances: name -> mean square, float32 (n,)."""
    import gguf
    import numpy as np

    stored = {t.name: np.array(t.data, np.float32) for t in gguf.GGUFReader(path).tensors}
    sums = {name.removesuffix(".in_sum2"): x for name, x in stored.items() if name.endswith(".in_sum2")}
    return {name: np.ascontiguousarray(x / stored[f"{name}.counts"]).reshape(-1) for name, x in sums.items()}


def keys_of(llama_cpp, path: Path, entries: int):
    """The keys that the program writes about a matrix, and the empty one that ends the list."""
    said = {"file": path.name, "dataset": "synthetic", "entries_count": entries, "chunks_count": 10}
    found = (llama_cpp.llama_model_kv_override * (len(said) + 1))()
    for key, (name, value) in zip(found, said.items(), strict=False):
        key.key = f"quantize.imatrix.{name}".encode()
        if isinstance(value, int):
            key.tag, key.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
        else:
            key.tag, key.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
    return found


def quantize(llama_cpp, source: Path, out: Path, file_type: int, matrix: dict | None, pure: bool) -> bool:
    """Whether the library wrote the file."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype, params.pure = 2, file_type, pure
    if matrix:
        kind = type(params.imatrix)._type_
        entries = (kind * (len(matrix) + 1))()
        for entry, (name, x) in zip(entries, matrix.items(), strict=False):
            entry.name, entry.size = name.encode(), x.size
            entry.data = x.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        params.imatrix = ctypes.cast(entries, type(params.imatrix))
        keys = keys_of(llama_cpp, source.with_suffix(".imatrix.gguf"), len(matrix))
        params.kv_overrides = ctypes.cast(keys, type(params.kv_overrides))
    return llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) == 0


def results(llama_cpp, source: Path, out: Path) -> dict:
    from test_requantize import sha256

    from quantlib.recipes import RECIPES

    matrix, found = importance(source.with_suffix(".imatrix.gguf")), {}
    for name, recipe in RECIPES.items():
        for variant in VARIANTS:
            given = matrix if variant == "+imatrix" else None
            refused = name in REFUSED and given is None
            if not refused and quantize(llama_cpp, source, out, recipe.file_type, given, variant == "+pure"):
                found[name + variant] = {"bytes": out.stat().st_size, "sha256": sha256(out)}
            else:
                found[name + variant] = {"error": True}
    return dict(sorted(found.items()))


def made(folder: Path) -> dict:
    import llama_cpp
    from test_requantize import MODELS, sha256, write, write_imatrix

    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    found = {}
    for name, model in MODELS.items():
        source = folder / name
        write(source, model)
        write_imatrix(source.with_suffix(".imatrix.gguf"), source, model.seed)
        found[name] = {
            "sha256": sha256(source),
            "imatrix": source.with_suffix(".imatrix.gguf").name,
            "results": results(llama_cpp, source, folder / "out.gguf"),
        }
    return found


def main(check: bool) -> int:
    before = json.loads(FILE.read_text())
    with tempfile.TemporaryDirectory() as folder:
        found = made(Path(folder))
    differ = [
        f"{name} {recipe}"
        for name in before.keys() | found.keys()
        for recipe in before[name]["results"].keys() | found[name]["results"].keys()
        if before[name]["results"].get(recipe) != found[name]["results"].get(recipe)
    ]
    print("the same as stored" if not differ else f"other than stored: {', '.join(sorted(differ))}")
    if not check and differ:
        FILE.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    return bool(differ) and check


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
