"""Write the model card, README.md and loss.svg, from the figures that training left: python card.py"""

import json
import math
from pathlib import Path


def curve_svg(log):
    """The loss curve as a picture: nats per token over millions of tokens, training (line) and held-out (dots)."""
    rows = [r for r in log if r["step"]]
    width, height, left, foot = 640, 260, 44, 34
    last = rows[-1]["tokens"]
    low = math.floor(min(min(r["loss"], r["held_out"]) for r in rows) * 2) / 2
    high = math.ceil(max(r["held_out"] for r in rows) * 2) / 2

    def at(tokens, nats):
        x = left + (width - left - 12) * tokens / last
        return f"{x:.1f},{10 + (height - foot - 10) * (high - min(nats, high)) / (high - low):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    ]
    parts.append(f'<rect width="{width}" height="{height}" fill="#fdfcfa"/>')
    for i in range(round((high - low) * 2) + 1):
        x, y = at(0, low + i / 2).split(",")
        parts.append(
            f'<path d="M{x} {y}H{width - 12}" stroke="#ddd"/><text x="8" y="{float(y) + 4}">{low + i / 2:.1f}</text>'
        )
    line = " ".join(at(r["tokens"], r["loss"]) for r in rows)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0072b2" stroke-width="1.5"/>')
    for r in rows:
        x, y = at(r["tokens"], r["held_out"]).split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="#d55e00"/>')
    words = f"nats per token over {last / 1e6:.1f} million training tokens: line training, dots held-out books"
    parts.append(f'<text x="{left}" y="{height - 10}">{words}</text></svg>')
    return "\n".join(parts) + "\n"


CARD = """# Demo model

A language model small enough to live in a repository and really trained, so that every picture of the app shows weights
that gradient descent made. It writes English-looking sentences; it knows nothing.

| | |
|---|---|
| architecture | Llama: hidden {hidden_size}, feed-forward {intermediate_size}, {num_hidden_layers} layers, {num_attention_heads} heads, {num_key_value_heads} key-value heads, context {max_position_embeddings}, untied output |
| weights | {parameters:,} in BF16 |
| tokenizer | byte-level BPE of {vocab_size:,} tokens with the GPT-2 pre-tokenizer, trained on the same books |
| data | {training_books} public-domain English books (children's tales, classic novels, plain non-fiction), {corpus_tokens:,} tokens |
| training | {trained_tokens:,} tokens in all ({epochs:.2f} passes), AdamW, in {minutes:.0f} minutes: {stages} |
| held-out books | {held_out_bits_per_byte:.3f} bits per byte ({held_out_nats_per_token:.3f} nats per token over {held_out_tokens:,} tokens, {held_out_bytes:,} bytes) |

![Loss over training tokens](loss.svg)

The figures are in `training.json`, measured on the weights as stored. The training was cut by time, not by convergence:
the model is undertrained. Each stage starts from the stored weights of the one before, with a learning rate that rises
and falls again. What a model of this size shows about rounding, scales and file layouts is true of any model;
how many outliers it has and how well it stands quantization is not that of a model a thousand times larger.

Train it again from a folder of books with `python train.py BOOKS`, further with `python train.py BOOKS --onward`;
`python train.py --help` says what that folder holds.
The books themselves are not part of this project. The weights are under the project's licence.
"""


STAGE = (
    "{steps:,} steps of {batch_tokens:,} tokens, peak learning rate {peak_learning_rate:g}, {precision} on {device} "
    "({threads} threads, {machine}, torch {torch}), {minutes:.0f} minutes"
)


def write_card(folder):
    """The model card and its picture, from training.json and config.json of that folder."""
    report = json.loads((folder / "training.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    stages = report.pop("stages")
    trained = sum(stage["tokens"] for stage in stages)
    words = dict(
        trained_tokens=trained,
        epochs=trained / report["corpus_tokens"],
        minutes=sum(stage["minutes"] for stage in stages),
        stages="; then ".join(STAGE.format(**stage) for stage in stages),
    )
    (folder / "README.md").write_text(CARD.format(**config, **report, **words), encoding="utf-8")
    (folder / "loss.svg").write_text(curve_svg(report["log"]), encoding="utf-8")


if __name__ == "__main__":
    write_card(Path(__file__).parent)
