"""The catalogue of formats, and what importing it may cost."""

import os
import subprocess
import sys
from pathlib import Path

import gguf
import pytest

from quantlib.errors import FormatError
from quantlib.formats import FORMATS, by_ggml_type, get, warm_up

ROOT = Path(__file__).parents[2]
every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)


def test_order_is_floats_integers_codebooks_blocks_activations():
    kinds = [form.kind for form in FORMATS.values()]
    assert kinds == sorted(kinds, key=["float", "integer", "codebook", "block", "activation"].index)
    assert list(FORMATS)[:3] == ["FP32", "BF16", "FP16"]
    assert all(FORMATS[name].name == name for name in FORMATS)
    blocks = [form.name for form in FORMATS.values() if form.kind == "block"]
    assert " ".join(blocks).startswith("Q1_0 Q2_0 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K")


@every_format
def test_every_format_offers_the_same_surface(form):
    assert get(form.name) is get(form.name.lower()) is form
    assert form.summary.endswith(".")
    assert form.row_bytes(4 * form.values) == 4 * form.nbytes
    assert form.bpw == 8 * form.nbytes / form.values
    assert form.layout.values == form.values


@pytest.mark.parametrize(
    "form", [form for form in FORMATS.values() if form.ggml_type is not None], ids=lambda f: f.name
)
def test_types_names_and_sizes_are_those_of_the_gguf_package(form):
    assert by_ggml_type(form.ggml_type) is form
    if form.ggml_type == 42:  # newer than the package
        assert (form.name, form.values, form.nbytes) == ("Q2_0", 64, 18)
    else:
        kind = gguf.GGMLQuantizationType(form.ggml_type)
        assert get(kind.name) is form
        # The package keeps an older Q8_1 of 40 bytes; ggml's block_q8_1 has 2 · 2 + 32.
        assert gguf.GGML_QUANT_SIZES[kind] == (form.values, 40 if form.name == "Q8_1" else form.nbytes)


def test_ggml_spellings_and_unknown_names():
    assert get("F32") is FORMATS["FP32"] and get("f16") is FORMATS["FP16"]
    with pytest.raises(FormatError, match="No format is called 'Q4_Z': choose one of FP32, BF16"):
        get("Q4_Z")
    assert by_ggml_type(12345) is None


def test_the_catalogue_cannot_be_changed():
    with pytest.raises(TypeError):
        FORMATS["Q4_K"] = FORMATS["FP32"]


def test_warm_up_compiles_what_is_named():
    from quantlib.formats.kernels import kquants, legacy

    warm_up(["q8_0"])
    assert len(legacy.encode_q8_0.signatures) == len(legacy.decode_q8_0.signatures) == 1
    warm_up()
    kernels = kquants.encode_sub_minima, kquants.encode_sub_minima_important, kquants.encode_q6_k, kquants.decode_q6_k
    assert all(len(kernel.signatures) == 1 for kernel in kernels)
    with pytest.raises(FormatError):
        warm_up(["nothing"])


def python(code: str, **environment: str) -> str:
    variables = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | environment
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_formats_imports_no_compiler():
    assert python("import sys, quantlib.formats; print('numba' in sys.modules)") == "False"
