"""What there is to say of formats, checkpoints, plans and results as rows of plain values: for text, JSON, pages."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from math import isinf, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib import architectures as _architectures
from quantlib import formats as _formats
from quantlib.amounts import count as count
from quantlib.amounts import duration as duration
from quantlib.amounts import size as size
from quantlib.checkpoints import Checkpoint, MetadataValue
from quantlib.checkpoints.image_models import image_family
from quantlib.formats.format import Format as _Format
from quantlib.inspection import Statistics, TensorComparison, ranked, remarks
from quantlib.inspection.unusual import Measure
from quantlib.jobs import Measured, Plan, Progress, RunResult
from quantlib.jobs.ways import Expected
from quantlib.metrics import Loss
from quantlib.recipes.labels import Label

if TYPE_CHECKING:  # running a model is not loaded for the sake of other tables
    from quantlib.cards import Made
    from quantlib.exports import Exported
    from quantlib.lm import Summary, WorstToken
    from quantlib.lm.contest import Contest

Row = dict[str, Any]  # of a table: a value for each column

LONG = 12  # longer metadata arrays are shown by their length


def formats() -> list[Row]:
    """A row for each format of the catalogue.

    values, nbytes: the weights of a block and its size. fields: what a block stores, name × count. levels: how many
    codes there are, and for how many weights each is where it is not one. importance: "needed", "used" or "".
    """
    return [
        {
            "name": f.name,
            "kind": f.kind,
            "bpw": f.bpw,
            "values": f.values,
            "nbytes": f.nbytes,
            "fields": " ".join(x.name if x.count == 1 else f"{x.name}×{x.count}" for x in f.layout.fields),
            "levels": _levels(f),
            "importance": _importance(f),
            "summary": f.summary,
        }
        for f in _formats.FORMATS.values()
    ]


def architectures() -> list[Row]:
    """A row for each architecture of transformers that is known, by the model_type of its config.json.

    runs: whether it is computed here, for perplexity, importance matrices and all that needs them. embeds: whether it
    is an encoder whose embeddings are computed. folds: whether scales move between its matrices, as AWQ and SmoothQuant
    need it.
    """
    return [
        {
            "title": known.title,
            "model_type": known.model_type,
            "gguf": known.name,
            "converts": True,
            "runs": known.runs is not None,
            "embeds": known.encodes is not None,
            "folds": known.folds is not None,
        }
        for known in sorted(_architectures.KNOWN, key=lambda known: (known.title.lower(), known.model_type))
    ]


def architectures_in_words() -> tuple[str, str, str]:
    """The titles of the architectures that are converted and run, of encoders, and of those that are converted only."""
    rows = architectures()
    does = {row["title"]: "run" if row["runs"] else "embed" if row["embeds"] else "" for row in rows}
    run, embed, converted = (
        ", ".join(title for title, found in does.items() if found == kind) for kind in ("run", "embed", "")
    )
    return run, embed, converted


def _levels(form: _Format) -> str:
    """How many codes a format has: of a float, its bit patterns."""
    codes = [field for field in form.layout.fields if field.role == "code"]
    if not codes:
        return f"{2 ** sum(field.width for field in form.layout.fields if field.name != 'padding'):,}"
    together = -(-form.values // codes[0].count)
    return f"{2 ** codes[0].width:,}" + (f" for {together}" if together > 1 else "")


def _importance(form: _Format) -> str:
    if form.requires_importance:
        return "needed"
    return "used" if form.uses_importance else ""


def checkpoint(ckpt: Checkpoint) -> Row:
    """What a checkpoint is: kind, architecture, counts, sizes and metadata. Names tell the family of an image model."""
    family = image_family(ckpt) if ckpt.architecture is None else None
    weights = sum(prod(t.shape) for t in ckpt.tensors.values())
    nbytes = sum(t.nbytes for t in ckpt.tensors.values())
    return {
        "source": ckpt.origin or str(ckpt.source),
        "kind": ckpt.kind,
        "architecture": family.name if family else ckpt.architecture,
        "tensor count": len(ckpt.tensors),
        "weights": weights,
        "nbytes": nbytes,
        "bpw": round(8 * nbytes / weights, 4) if weights else None,
        "metadata": {key: _plain(value) for key, value in ckpt.metadata.items()},
    }


def _plain(value: object) -> object:
    value = value.value if isinstance(value, MetadataValue) else value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, str | bool | int | type(None)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if hasattr(value, "__len__") and len(value) > LONG:
        return f"{len(value):,} values"
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    return str(value)


def tensors(ckpt: Checkpoint) -> list[Row]:
    """A row for each tensor, in the file's order."""
    return [
        {
            "name": t.name,
            "shape": list(t.shape),
            "format": t.format,
            "bpw": round(8 * t.nbytes / prod(t.shape), 4) if prod(t.shape) else None,
            "nbytes": t.nbytes,
        }
        for t in ckpt.tensors.values()
    ]


def metadata(ckpt: Checkpoint, most: int = 400) -> list[Row]:
    """A row for each metadata key: its type, and its value as text of at most `most` characters."""
    rows = []
    for key, value in ckpt.metadata.items():
        if isinstance(value, Mapping):  # config.json: a row for each of its keys
            rows += [_metadata_row(f"{key}.{inner}", type(v).__name__, v, most) for inner, v in value.items()]
        else:
            plain = value.value if isinstance(value, MetadataValue) else value
            kind = value.type if isinstance(value, MetadataValue) else type(value).__name__
            rows.append(_metadata_row(key, kind, plain, most))
    return rows


def _metadata_row(key: str, kind: str, value: Any, most: int) -> Row:
    if isinstance(value, str):
        text = value
    elif hasattr(value, "__len__") and not isinstance(value, Mapping) and len(value) > LONG:
        text = f"{len(value):,} values: {', '.join(str(v) for v in value[:LONG])}, …"
    else:
        text = json.dumps(_plain(value), ensure_ascii=False)
    return {"key": key, "type": kind, "value": cell(text if len(text) <= most else text[:most] + "…")}


TOKEN_TYPES = {1: "normal", 2: "unknown", 3: "control", 4: "user defined", 5: "unused", 6: "byte"}


def vocabulary(ckpt: Checkpoint, start: int = 0, count: int = 1000, contains: str = "") -> list[Row]:
    """A row for each of `count` tokens of a checkpoint as GGUF stores it, from number `start` on.

    contains: only tokens with this text in them. Nothing where the metadata holds no tokens.
    """
    tokens = ckpt.value("tokenizer.ggml.tokens")
    if not isinstance(tokens, Iterable):
        return []
    types, scores = ckpt.value("tokenizer.ggml.token_type"), ckpt.value("tokenizer.ggml.scores")
    numbered = ((i, str(token)) for i, token in enumerate(tokens) if contains in str(token))
    return [
        {
            "id": i,
            "token": cell(token),
            "type": TOKEN_TYPES.get(int(types[i]), "other") if types is not None and i < len(types) else None,
            "score": float(scores[i]) if scores is not None and i < len(scores) else None,
        }
        for i, token in islice((pair for pair in numbered if pair[0] >= start), count)
    ]


def statistics(found: Statistics) -> Row:
    """Statistics of one tensor."""
    return {
        "name": found.name,
        "shape": list(found.shape),
        "format": found.format,
        "nbytes": found.nbytes,
        "weights": found.weights,
        "smallest": found.smallest,
        "largest": found.largest,
        "mean": found.mean,
        "standard deviation": found.deviation,
        "root mean square": found.rms,
        "largest / rms": found.peak,
        "excess kurtosis": found.kurtosis,
        "zeros": found.zeros,
        "dead rows": found.dead_rows,
        "dead columns": found.dead_columns,
        "not finite": found.not_finite,
        "note": found.note,
    }


def unusual(found: Sequence[Statistics], by: Measure | None = None, most: int = 25) -> list[Row]:
    """A row for each remark on a checkpoint's tensors, or for the tensors that rank first by one measure."""
    if by is None:
        said = [(remark.name, remark.words, remark.value) for remark in remarks(found)]
    else:
        said = [(row.name, by.words.format(value), value) for row, value in ranked(found, by)[:most]]
    return [{"finding": words, "name": name, "value": value} for name, words, value in said]


def comparison(row: TensorComparison) -> Row:
    """One tensor in two checkpoints."""
    measures = loss(row.loss) if row.loss else dict.fromkeys(loss(Loss()))
    shape = row.shape or row.other_shape
    return {
        "name": row.name,
        "shape": list(shape or ()),
        "format": row.format,
        "other format": row.other_format,
        "nbytes": row.nbytes,
        "other nbytes": row.other_nbytes,
        **measures,
        "note": row.note,
    }


def plan(plan: Plan) -> Row:
    """A plan: its tensors with formats, sizes and reasons, and the size of the file."""
    return {
        "recipe": plan.recipe.name,
        "effort": plan.effort,
        "nbytes": plan.nbytes,
        "source_nbytes": plan.source_nbytes,
        "bpw": round(plan.bpw, 4),
        "warnings": list(plan.warnings),
        "tensors": [
            {
                "name": t.name,
                "shape": list(t.shape),
                "source": t.source,
                "target": t.target,
                "bpw": round(t.bpw, 4),
                "source_nbytes": t.source_nbytes,
                "nbytes": t.nbytes,
                "reason": t.reason,
            }
            for t in plan.tensors
        ],
    }


def ways(found: Sequence[Expected]) -> list[Row]:
    """A row for each way to choose the codes of a plan's blocks: what it can be expected to lose and to take."""
    return [
        {
            "method": each.way.name,
            "codes": each.way.title,
            "loss": round(each.loss, 3),
            "seconds": None if each.unable else float(f"{each.seconds:.2g}"),
            "unable": each.unable,
        }
        for each in found
    ]


def plans(plans: Sequence[Plan]) -> list[Row]:
    """A row for each of several plans of one checkpoint."""
    return [
        {"recipe": p.recipe.name, "nbytes": p.nbytes, "bits per weight": round(p.bpw, 3), "formats": _targets(p)}
        for p in plans
    ]


def _targets(plan: Plan) -> str:
    return ", ".join(name for name, _ in Counter(t.target for t in plan.tensors).most_common())


def made(files: Sequence["Made"], answers: Mapping[str, "Summary"]) -> list[Row]:
    """A row for each finished file, the largest first; answers: how its model answers, by recipe, where it was run."""
    rows = []
    for one in sorted(files, key=lambda one: -one.result.nbytes):
        said = answers.get(one.plan.recipe.name)
        rows.append(
            {
                "recipe": one.plan.recipe.name,
                "nbytes": one.result.nbytes,
                "bits per weight": round(one.plan.bpw, 3),
                "relative": one.result.loss.relative,
                "KL, nats": float(f"{said.kl:.3g}") if said else None,
                "top changed": said.changed_top if said else None,
                "seconds": round(one.result.seconds, 1),
                "SHA-256": one.sha256,
            }
        )
    return rows


def label(label: Label) -> Row:
    """A model's name, read: its parts in order, the recipe, weights and bits that it names, and what it leaves open."""
    return {
        "name": label.text,
        "parts": [asdict(part) for part in label.parts],
        "recipe": label.recipe,
        "weights": label.weights,
        "bits": label.bits,
        "nbytes": label.nbytes,
        "unknown": [asdict(one) for one in label.unknown],
    }


def progress(progress: Progress) -> Row:
    """How far a run is."""
    left = progress.seconds_left
    return {
        "tensor": progress.tensor,
        "tensors_done": progress.index,
        "tensors": progress.count,
        "nbytes_done": progress.nbytes_done,
        "nbytes": progress.nbytes,
        "weights_done": progress.weights_done,
        "weights": progress.weights,
        "fraction": round(progress.fraction, 4),
        "weights_per_second": round(progress.speed),
        "seconds": round(progress.seconds, 2),
        "seconds_left": None if left is None else round(left, 1),
    }


def measured(rows: Sequence[Measured]) -> list[Row]:
    """What each format would cost each tensor, as measured for a budget."""
    return [
        {
            "name": m.name,
            "format": m.format,
            "nbytes": m.nbytes,
            "relative error": m.relative_error,
            "sensitivity": m.sensitivity,
            "cost": m.cost,
        }
        for m in rows
    ]


def result(result: RunResult) -> Row:
    """A finished run: the file, the time, and the loss of each tensor (replacing the plan's `tensors`)."""
    return {
        "path": str(result.path),
        "seconds": round(result.seconds, 3),
        "resumed": result.resumed,
        "outliers": [found.words for found in result.outliers],
        "tensors": [
            {"name": t.name, "shape": list(t.shape), "source": t.source, "target": t.target, "nbytes": t.nbytes}
            | loss(t.loss)
            for t in result.tensors
        ],
    }


def exported(result: "Exported") -> Row:
    """A finished export: the folder, the time, and the loss of each matrix."""
    return {
        "path": str(result.path),
        "scheme": result.scheme,
        "nbytes": result.nbytes,
        "bpw": round(result.bpw, 4),
        "seconds": round(result.seconds, 3),
        "tensors": [
            {"name": f"{layer.module}.weight", "shape": list(layer.shape), "bpw": round(layer.bpw, 4)}
            | loss(layer.loss)
            for layer in result.layers
        ],
    }


def loss(loss: Loss) -> Row:
    """The measures of a loss; sqnr is None where nothing was lost."""
    return {
        "rmse": loss.rmse,
        "relative": loss.relative,
        "largest_error": loss.largest_error,
        "sqnr": None if isinf(loss.sqnr) else loss.sqnr,
        "cosine": loss.cosine,
    }


def as_csv(rows: list[Row]) -> str:
    """Rows as comma-separated values under their names; nothing where there is none, and no cell starts a formula."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row.values()])
    return out.getvalue()


def _csv_cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    text = cell(value)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text  # names come from files, and sheets compute


def answers(total: "Summary", texts: Mapping[str, "Summary"], worst: Iterable["WorstToken"]) -> Row:
    """What a comparison of two models over texts found: over all of them, by text, and at the worst places."""
    return {
        "total": asdict(total),
        "texts": {name: asdict(found) for name, found in texts.items()},
        "worst": [asdict(place) for place in worst],
    }


def as_json(document: Row) -> str:
    """A document as JSON, to keep; no value in it is infinite or NaN."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def methods(found: "Contest") -> list[Row]:
    """A row for each method that a comparison measured."""
    return [
        {
            "bits": m.bits,
            "method": m.method,
            "bpw": m.bpw,
            "output error": round(m.output_error, 4),
            "perplexity": round(m.total.perplexity, 3),
            "difference": round(m.total.difference, 3),
            "KL, nats": float(f"{m.total.kl:.3g}"),
            "top changed": round(m.total.changed_top, 4),
            "seconds": round(m.seconds, 1),
        }
        for m in found.measured
    ]


def as_markdown(rows: list[Row]) -> str:
    """Rows as a Markdown table; numbers to the right."""
    columns = list(rows[0])
    right = [all(isinstance(row[c], int | float | type(None)) for row in rows) for c in columns]
    lines = [columns, ["---:" if r else "---" for r in right]]
    lines += [[cell(row[c]).replace("|", "\\|") for c in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_text(rows: list[Row]) -> str:
    """Rows as aligned columns; numbers to the right."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    cells = [[cell(row[c]) for c in columns] for row in rows]
    right = [all(isinstance(row[c], int | float | type(None)) for row in rows) for c in columns]
    widths = [max(len(line[i]) for line in [*cells, columns]) for i in range(len(columns))]
    lines = [columns, *cells] if any(columns) else cells
    return "\n".join(
        "  ".join(
            text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list) and all(isinstance(v, int) for v in value):
        return " × ".join(str(v) for v in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else "�" for c in text)  # names come from files: no control characters
