"""Methods against each other on one model: the same calibration text for all that need one, other texts to judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import sqrt
from time import monotonic

from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError, MethodError
from quantlib.lm.comparison import Summary, together
from quantlib.lm.keeping import digest_of, digest_of_model, kept
from quantlib.lm.model import Model
from quantlib.lm.quantizing import calibration_notes, check_calibration, output_errors, quantized
from quantlib.lm.sweeping import Bench, bench
from quantlib.lm.texts import digest_of_texts
from quantlib.lm.tokenizer import Tokenizer
from quantlib.lm.windows import Windows, cut, joined
from quantlib.methods.catalogue import Method, compared

CONTEXT, BITS, GROUP = 512, (8, 4, 3, 2), 64
SAMPLE = 4096  # tokens of the judging texts, evenly taken, on which matrices' outputs are compared


@dataclass(frozen=True)
class MeasuredMethod:
    """One method on a model. bits: of a code; bpw: of the matrices inside the layers, everything counted.

    output_error: the root mean square, over those matrices, of ‖x (W − Ŵ)ᵀ‖ / ‖x Wᵀ‖ on a sample of the judging texts,
    x as in the original model. seconds: for choosing all codes, calibration included. total: what the texts say.
    """

    method: str
    family: str
    bits: int
    bpw: float
    output_error: float
    seconds: float
    total: Summary

    @classmethod
    def of(cls, document: Mapping) -> MeasuredMethod:
        """From its plain values. Raises CheckpointError where they are not of that form."""
        try:
            return cls(**{**document, "total": Summary(**document["total"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"The stored measurement cannot be read: {error}.") from None


@dataclass(frozen=True)
class Contest:
    """Methods of one model, measured on the same texts.

    model, text, calibration: hashes of the weights, of the judging texts and of the calibration text. texts,
    calibration_name: what they are called; calibration_tokens: how much of that text there was. notes: sentences on it.
    """

    source: str
    model: str
    text: str
    texts: tuple[str, ...]
    calibration: str
    calibration_name: str
    calibration_tokens: int
    context: int
    group: int
    notes: tuple[str, ...]
    measured: tuple[MeasuredMethod, ...] = field(repr=False)

    def at(self, bits: int) -> tuple[MeasuredMethod, ...]:
        """The methods measured at so many bits, in their order."""
        return tuple(m for m in self.measured if m.bits == bits)

    def document(self) -> dict:
        """All of it as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping) -> Contest:
        """Back from its plain values. Raises CheckpointError where they are not of that form."""
        try:
            lists = {name: tuple(document[name]) for name in ("texts", "notes")}
            return cls(**{**document, **lists, "measured": tuple(map(MeasuredMethod.of, document["measured"]))})
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The stored comparison of methods cannot be read: {error}.") from None


def contest(
    checkpoint: Checkpoint,
    calibration: Mapping[str, str],
    texts: Mapping[str, str],
    bits: Iterable[int] = BITS,
    group: int = GROUP,
    context: int = CONTEXT,
    progress: Callable[[float, str], None] | None = None,
    contestants: Callable[[int, int], Iterable[Method]] = compared,
) -> Contest:
    """Quantize a model by every method at these bits, codes chosen on `calibration`, and judge each on `texts`.

    Both are texts by name, and none may be in both. contestants(bits, group): the methods. progress(fraction, name) is
    called before each. What was measured before, on this machine and of the same weights, texts and method, is not
    measured again.
    Raises MethodError where a text is in both or too short, CheckpointError where the model cannot be run.
    """
    check_apart(calibration, texts)
    model, text, source = digest_of_model(checkpoint), digest_of_texts(texts), digest_of_texts(calibration)
    judge = bench(checkpoint, texts, context)
    tokenizer = Tokenizer.of(checkpoint)
    parts = [cut(judge.model, tokenizer.encode(t), context, tokenizer.bos) for t in calibration.values()]
    windows = joined(parts)
    check_calibration(windows)
    methods = [method for b in bits for method in contestants(b, group)]
    measured = []
    for i, method in enumerate(methods):
        if progress:
            progress(i / len(methods), f"{method.name}, {method.bits} bits")
        key = digest_of("method", model, text, source, context, group, method.name, method.bits)
        facts = {"method": method.name, "family": method.family, "bits": method.bits}
        measured.append(MeasuredMethod.of(facts | kept(key, partial(_measure, judge, windows, method))))
    if progress:
        progress(1.0, "")
    return Contest(
        source=checkpoint.source.name or str(checkpoint.source),
        model=model,
        text=text,
        texts=tuple(texts),
        calibration=source,
        calibration_name=", ".join(calibration),
        calibration_tokens=windows.tokens.size,
        context=context,
        group=group,
        notes=calibration_notes(judge.model, windows),
        measured=tuple(measured),
    )


def check_apart(calibration: Mapping[str, str], texts: Mapping[str, str], run: int = 200) -> None:
    """Raises MethodError where a stretch of `run` characters of a judging text is in a calibration text too."""
    for name, text in texts.items():
        for other, calibrating in calibration.items():
            pieces = [text[at : at + run] for at in range(0, max(1, len(text) - run + 1), run)]
            if any(piece in calibrating for piece in pieces):
                raise MethodError(
                    f"The text {name!r} is judged on and shares a passage with the calibration text {other!r}; codes "
                    f"fitted to a text look better on it than they are, so take another."
                )


def _measure(judge: Bench, windows: Windows, method: Method) -> dict:
    started = monotonic()
    changed, bpw = quantized(judge.model, windows, method)
    seconds = monotonic() - started
    total = together(list(judge.against(changed).values()))
    return {
        "bpw": round(bpw, 4),
        "output_error": _output_error(judge.model, changed, total.windows),
        "seconds": round(seconds, 2),
        "total": asdict(total.summary()),
    }


def _output_error(model: Model, changed: Model, windows: Windows) -> float:
    some = replace(windows, tokens=windows.tokens[:: max(1, windows.tokens.size // SAMPLE)])
    errors = output_errors(model, changed, some).values()
    return sqrt(sum(e * e for e in errors) / len(errors))
