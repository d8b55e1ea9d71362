"""A model card: what a quantized file is, what it cost, how it was made and how it is run, as Markdown for the hub."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantlib.amounts import size
from quantlib.checkpoints import MetadataValue, open_checkpoint
from quantlib.checkpoints.digests import structure_digest
from quantlib.jobs import Plan, RunResult

CHUNK = 1 << 24  # bytes that are hashed at a time
LICENCES = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")  # what the hub takes for the name of a licence


@dataclass(frozen=True)
class Made:
    """One finished file: the plan it was made by, the result, its SHA-256, the command that makes it again, and the
    fingerprint of its structure.
    """

    plan: Plan
    result: RunResult
    sha256: str
    command: str
    structure: str = ""

    @classmethod
    def of(cls, plan: Plan, result: RunResult, command: str) -> "Made":
        """Reads the file once, for its hash."""
        with open_checkpoint(result.path) as written:
            structure = structure_digest(written)
        return cls(plan, result, sha256(result.path), command, structure)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def model_card(made: Sequence[Made]) -> str:
    """The card of files that were made from one checkpoint: front matter, a table, formats, commands, cautions."""
    plan = made[0].plan
    name = _text(plan, "general.name") or Path(plan.checkpoint.source).stem
    parts = [
        _front(plan, made),
        f"# {_plain(name)}, quantized to GGUF",
        "Made with quantlib, whose bytes are those of llama-quantize"
        + (", searched for a lower error in the same size" if any(m.plan.effort == "best" for m in made) else "")
        + ". For llama.cpp, Ollama and what is built on them.",
        _table(made),
        "The *relative error* is the root mean square of ŵ − w over that of w, over all weights, decoded from the "
        "file. It says nothing about answers: measure perplexity and KL divergence on a text of yours before you "
        "rely on it.",
        "## Formats",
        "\n".join(f"- **{m.result.path.name}**: {_formats(m.plan)}" for m in made),
        "## How it was made",
        _fenced("\n".join(m.command for m in made), "bash"),
        _matrix(plan),
        "## Run it",
        _fenced(f"llama-cli -m {made[0].result.path.name}", "bash"),
    ]
    notes = dict.fromkeys(note for m in made for note in (*m.plan.warnings, *(o.words for o in m.result.outliers)))
    if notes:
        parts += ["## Notes", "\n".join(f"- {_plain(note)}" for note in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(plan: Plan, made: Sequence[Made]) -> str:
    """YAML that the hub reads; JSON's strings are YAML's."""
    licence, origin = _text(plan, "general.license"), plan.checkpoint.origin.removeprefix("hf://").split("@")[0]
    lines = ["---"]
    if licence and LICENCES.fullmatch(licence):
        lines.append(f"license: {json.dumps(licence)}")
    if origin:
        lines += [f"base_model: {json.dumps('/'.join(origin.split('/')[:2]))}", "base_model_relation: quantized"]
    lines += ["library_name: gguf", "tags:", "- gguf", "- quantlib"]
    lines += [f"- {json.dumps(recipe)}" for recipe in dict.fromkeys(m.plan.recipe.name for m in made)]
    return "\n".join([*lines, "---"])


def _table(made: Sequence[Made]) -> str:
    rows = [
        "| file | recipe | size | bits per weight | relative error | SHA-256 |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for m in sorted(made, key=lambda m: -m.result.nbytes):
        amounts = f"{size(m.result.nbytes)} | {m.plan.bpw:.2f} | {m.result.loss.relative:.2%}"
        rows.append(f"| {_plain(m.result.path.name)} | {_plain(m.plan.recipe.name)} | {amounts} | `{m.sha256}` |")
    return "\n".join(rows)


def _formats(plan: Plan) -> str:
    counts = Counter(tensor.target for tensor in plan.tensors).most_common()
    return ", ".join(f"{count:,} tensors in {name}" for name, count in counts)


def _matrix(plan: Plan) -> str:
    file = _text(plan, "quantize.imatrix.file")
    if not file:
        return "No importance matrix was used."
    dataset, chunks = _text(plan, "quantize.imatrix.dataset"), plan.metadata.get("quantize.imatrix.chunks_count")
    about = f" over {_plain(dataset)}" if dataset else ""
    about += f", {chunks.value:,} windows" if chunks and isinstance(chunks.value, int) else ""
    return f"Errors were weighed by the importance matrix {_plain(file)}{about}."


def _text(plan: Plan, key: str) -> str:
    found = plan.metadata.get(key)
    value = found.value if isinstance(found, MetadataValue) else None
    return value if isinstance(value, str) else ""


def _fenced(code: str, language: str) -> str:
    """Code as a block of Markdown, whatever it holds."""
    fence = "`" * (max((len(run) for run in re.findall("`+", code)), default=0) + 3)
    return f"{fence}{language}\n{code}\n{fence}"


def _plain(text: str) -> str:
    """A text of a stranger's file on one line of Markdown, without markup."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\`*_\[\]<>|!#])", r"\\\1", " ".join(line.split()))
