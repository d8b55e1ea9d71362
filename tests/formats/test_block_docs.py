"""What the modules say of their formats is what the layouts are."""

import doctest
import importlib

import pytest

from quantlib.formats import FORMATS, blocks

BLOCKS = [form for form in FORMATS.values() if form.kind in ("block", "activation")]
MODULES = (
    *("legacy", "low_bits", "kquants", "q2_q3", "nonlinear"),
    *("iquants", "iquants_ternary", "ternary", "microscaling", "activations"),
)


@pytest.mark.parametrize("name", MODULES)
def test_byte_maps_and_formulas_in_module_docs_are_true(name):
    module = importlib.import_module(f"{blocks.__name__}.{name}")
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("form", BLOCKS, ids=lambda form: form.name)
def test_every_block_format_has_its_byte_map_in_a_module_doc(form):
    docs = [importlib.import_module(f"{blocks.__name__}.{name}").__doc__ for name in MODULES]
    assert sum(form.describe() in doc for doc in docs) == 1


@pytest.mark.parametrize("form", BLOCKS, ids=lambda form: form.name)
def test_a_byte_map_leaves_no_byte_out(form):
    at = 0
    for first, last, _ in form.layout.byte_map():
        assert first == at <= last
        at = last + 1
    assert at == form.nbytes
