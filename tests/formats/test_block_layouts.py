"""Layouts: every bit has one meaning, and packing undoes unpacking."""

import numpy as np
import pytest

from quantlib.errors import FormatError
from quantlib.formats import FORMATS
from quantlib.formats.kernels import packing
from quantlib.formats.layout import ROLES, Field, Layout, plane, run, word

BLOCKS = [form for form in FORMATS.values() if form.kind == "block"]
every_block = pytest.mark.parametrize("form", BLOCKS, ids=lambda form: form.name)
every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)


@every_format
def test_addresses_tile_the_block(form):
    addresses = np.concatenate([field.bits.ravel() for field in form.layout.fields])
    assert sorted(addresses) == list(range(8 * form.nbytes))
    assert form.layout.nbytes == form.nbytes
    assert form.layout.values == form.values
    assert form.bpw == 8 * form.nbytes / form.values


@every_format
def test_fields_are_documented_and_have_known_roles(form):
    for field in form.layout.fields:
        assert field.role in ROLES
        assert field.doc.endswith(".")


@every_format
def test_pack_undoes_unpack_on_random_bytes(form):
    data = np.random.default_rng(1).integers(0, 256, (3, 50, form.nbytes), np.uint8)
    codes = form.layout.unpack(data)
    assert {name: code.shape for name, code in codes.items()} == {f.name: (3, 50, f.count) for f in form.layout.fields}
    assert np.array_equal(form.layout.pack(codes), data)


@every_block
def test_the_kernels_unpack_and_pack_as_the_layout_says(form):
    data = np.random.default_rng(3).integers(0, 256, (40, form.nbytes), np.uint8)
    codes, found = form.layout.unpack(data), packing.unpack(form.layout, data)
    assert list(found) == list(codes)
    for name, code in codes.items():
        assert found[name].dtype == code.dtype
        assert found[name].tobytes() == code.tobytes()  # of floats too, whose NaN is unlike itself
    assert np.array_equal(packing.pack(form.layout, codes), data)


@every_block
def test_unpack_undoes_pack_on_codes_of_every_size(form):
    rng = np.random.default_rng(2)
    for field in form.layout.fields:
        codes = form.layout.unpack(np.zeros((20, form.nbytes), np.uint8))
        raw = rng.integers(0, 1 << field.width, (20, field.count), dtype=np.uint64).astype(field.unsigned)
        codes[field.name] = raw.view(field.stored)
        back = form.layout.unpack(form.layout.pack(codes))
        assert np.array_equal(back[field.name].view(field.unsigned), raw)


@every_format
def test_owner_finds_the_bit_that_the_field_declares(form):
    for field in form.layout.fields:
        for (element, bit), address in np.ndenumerate(field.bits):
            owner = form.layout.owner(*divmod(int(address), 8))
            assert (owner.field, owner.element, owner.bit) == (field, element, bit)


@every_block
def test_a_weight_depends_on_its_own_bits_and_no_others(form):
    """Flipping a bit of a random block changes weights whose `bits_of` holds that bit, and only those."""
    rng = np.random.default_rng(3)
    layout = form.layout
    expected = np.zeros((8 * form.nbytes, form.values), bool)
    for weight in range(form.values):
        expected[np.concatenate(list(layout.bits_of(weight).values())), weight] = True
    address = np.arange(8 * form.nbytes)
    changed = np.zeros_like(expected)
    for _ in range(8):  # a block's own scale may be zero, or a code's sign that of zero
        codes = {f.name: rng.integers(1, min(1 << f.width, 100), (1, f.count)) for f in layout.fields}
        codes = {
            f.name: (codes[f.name] if f.dtype != "f2" else np.array([[1.5]])).astype(f.stored) for f in layout.fields
        }
        data = form.pack(codes)[0]
        flipped = np.repeat(data[None], 8 * form.nbytes, axis=0)
        flipped[address, address // 8] ^= (1 << address % 8).astype(np.uint8)
        changed |= form.dequantize(flipped) != form.dequantize(data)  # (bits, weights)
    assert not (changed & ~expected).any()
    for field in layout.fields:
        if field.role in ("code", "grid", "sign"):
            assert changed[field.bits].any(axis=-1).all(), field.name
        if field.role == "code" and field.count == form.values:
            assert all(changed[bits, weight].all() for weight, bits in enumerate(field.bits))


def test_helpers_give_the_orders_they_describe():
    assert run(2, 3, 4, bit=4).tolist() == [[20, 21, 22, 23], [28, 29, 30, 31], [36, 37, 38, 39]]
    assert word(1, 2, 2).tolist() == [list(range(8, 24)), list(range(24, 40))]
    assert plane(0, 4, 4, 2)[:, 0].tolist() == [0, 8, 4, 12, 16, 24, 20, 28]


def test_a_code_that_does_not_fit_is_refused():
    layout = Layout(2, (Field("q", plane(0, 1, 4, 1), "code", "Two codes."),))
    assert layout.pack({"q": np.array([[15, 1]])}).tolist() == [[0x1F]]
    for codes in ([[16, 0]], [[-1, 0]]):
        with pytest.raises(FormatError, match="does not fit in 4 bits"):
            layout.pack({"q": np.array(codes)})


def test_wrong_bytes_and_wrong_names_are_refused():
    layout = FORMATS["Q4_K"].layout
    with pytest.raises(FormatError, match="144 bytes"):
        layout.unpack(np.zeros((2, 143), np.uint8))
    with pytest.raises(FormatError, match="d, dmin, sc, mn, q"):
        layout.field("zp")
