"""The codes of one layer's matrices, from what they read: those that read the same together, rows side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from quantlib.errors import FormatError, MethodError
from quantlib.lm.model import Model
from quantlib.lm.threads import side_by_side
from quantlib.methods.catalogue import Chosen, Method
from quantlib.methods.hessian import Gram
from quantlib.methods.mixed import Inputs

TOGETHER = 1 << 17  # weights that a thread takes at once


def choose(model: Model, methods: Mapping[str, Method], sums) -> dict[str, Chosen]:
    """The codes of a layer's matrices that have a method; a stack of experts is one of them.

    sums: groups of names that read the same, by their first, and what each group reads. Raises FormatError and
    MethodError with the name of the matrix.
    """
    found: dict[str, Chosen] = {}
    whole = []
    for first, group in sums.groups.items():
        gram, rows = sums.grams.get(first), []
        for names in _by_method(methods, group):
            method = methods[_stack(names[0])]
            method = method if method.unscaled is None or _scalable(model, first) else method.unscaled
            if method.rows is None:
                whole.append((first, method, names))
            else:
                rows += [(name, method) for name in names]
        if rows:
            found |= _row_by_row(model, first, rows, gram)
    for part in side_by_side(lambda job: _whole(model, *job, sums.grams.get(job[0])), whole):
        found |= part
    return _stacked(found)


def _by_method(methods: Mapping[str, Method], group: Sequence[str]) -> Iterator[list[str]]:
    """The names of a group that have a method, those of one method together."""
    own: dict[int, list[str]] = {}
    for name in group:
        if _stack(name) in methods:
            own.setdefault(id(methods[_stack(name)]), []).append(name)
    return iter(own.values())


def _stack(name: str) -> str:
    """The tensor that a matrix is, or is one expert of."""
    return name.partition("#")[0]


def _matrix(model: Model, name: str) -> np.ndarray:
    stack, numbered, expert = name.partition("#")
    return model.weight(stack)[int(expert)] if numbered else model.weight(stack)


def _whole(model: Model, first: str, method: Method, names: list[str], gram: Gram | None) -> dict[str, Chosen]:
    try:
        chosen = method.choose([_matrix(model, name) for name in names], gram)
    except (FormatError, MethodError) as error:
        raise type(error)(f"{names[0]}: {error}") from None
    return dict(zip(names, chosen, strict=True))


def _row_by_row(model: Model, first: str, jobs: Sequence[tuple[str, Method]], gram: Gram | None) -> dict[str, Chosen]:
    """Matrices that read the same inputs, which are made ready once for all of one effort."""
    ready: dict[object, Inputs] = {}
    parts = []
    for name, method in jobs:
        try:
            if gram is None:
                raise MethodError("This method chooses codes by the inputs of a layer: calibrate on a text first.")
            if method.rows.effort not in ready:
                ready[method.rows.effort] = Inputs.of(gram, method.rows.effort)
        except MethodError as error:
            raise MethodError(f"{name}: {error}") from None
        weight = _matrix(model, name)
        step = max(1, TOGETHER // weight.shape[1])
        parts += [(name, method, weight[at : at + step]) for at in range(0, len(weight), step)]

    def one(job: tuple[str, Method, np.ndarray]) -> Chosen:
        name, method, rows = job
        try:
            return method.rows.choose(rows, ready[method.rows.effort])
        except (FormatError, MethodError) as error:
            raise type(error)(f"{name}: {error}") from None

    found: dict[str, list[Chosen]] = {}
    for (name, _, _), chosen in zip(parts, side_by_side(one, parts), strict=True):
        found.setdefault(name, []).append(chosen)
    return {name: _joined(chosen) for name, chosen in found.items()}


def _joined(parts: Sequence[Chosen]) -> Chosen:
    """The rows of a matrix, or the matrices of a stack, one after the other."""
    decoded, data = (np.concatenate([getattr(part, field) for part in parts]) for field in ("decoded", "result"))
    return Chosen(decoded, parts[0].bpw, data)


def _stacked(found: Mapping[str, Chosen]) -> dict[str, Chosen]:
    """Experts put together as the tensors that they are stored in."""
    out = {name: chosen for name, chosen in found.items() if "#" not in name}
    experts: dict[str, dict[int, Chosen]] = {}
    for name, chosen in found.items():
        if "#" in name:
            experts.setdefault(_stack(name), {})[int(name.partition("#")[2])] = chosen
    for stack, chosen in experts.items():
        parts = [chosen[expert] for expert in sorted(chosen)]
        whole = _joined(parts)
        shape = len(parts), *parts[0].decoded.shape
        out[stack] = Chosen(whole.decoded.reshape(shape), whole.bpw, whole.result)
    return out


def _scalable(model: Model, name: str) -> bool:
    """Whether what makes a matrix's inputs makes them one by one, so that it could take scales: a norm before it, or a
    matrix with as many outputs. The values of grouped-query attention, which several heads read, do not.
    """
    _, index, part, *_ = name.split(".")
    before = {"attn_output": "attn_v", "ffn_down": "ffn_up"}.get(part, "ffn_norm" if part[:3] == "ffn" else "attn_norm")
    maker = model.weights.get(f"blk.{index}.{before}.weight")
    return maker is not None and maker.shape[0] == model.weights[name].shape[1]
