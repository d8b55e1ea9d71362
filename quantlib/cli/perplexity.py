"""perplexity: how well a model reads a text, alone, against a baseline, or under many recipes."""

import json
from dataclasses import asdict
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import (
    SOURCE_HELP,
    as_stored,
    command,
    files_named,
    positive,
    print_json,
    progress_line,
    replaces,
    saved_as,
)
from quantlib.destinations import MADE_BY, Destination

WORST = 5
SWEPT = ("recipe", "weighted", "nbytes", "bpw", "seconds")
FIGURES = (
    "perplexity", "stderr", "difference", "difference_stderr", "kl", "kl_stderr", "kl_largest",
    "changed_top", "changed_top_stderr", "probability_change", "probability_change_rms",
)  # fmt: skip


def add(commands) -> None:
    measure = command(
        commands,
        "perplexity",
        run,
        "measure how well a model reads a text",
        examples=(
            "perplexity model.gguf --text story.txt --context 256",
            "perplexity model.gguf --text story.txt --baseline original/",
        ),
    )
    measure.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    measure.add_argument(
        "--text", type=Path, action="append", metavar="FILE",
        help="a UTF-8 text; may be repeated, each is reported; default: the two texts of this project",
    )  # fmt: skip
    measure.add_argument(
        "--characters", type=positive, metavar="N", help="read only the first N characters of each text"
    )
    measure.add_argument(
        "--context", type=positive, default=512, metavar="N", help="tokens a window, default %(default)s"
    )
    measure.add_argument(
        "--baseline", metavar="MODEL",
        help="compare with this model: KL divergence, changed top tokens, the worst tokens",
    )  # fmt: skip
    as_stored(measure)
    measure.add_argument(
        "--sweep", nargs="?", const="all", metavar="RECIPES",
        help="measure what recipes would make of MODEL, without writing models: some joined by commas, all, or ladder "
        "for one of each size",
    )  # fmt: skip
    measure.add_argument(
        "--sensitivity", type=str.upper, metavar="FORMAT",
        help="quantize one part of MODEL at a time to this format, and measure what the whole loses",
    )  # fmt: skip
    measure.add_argument("--by", default="tensor", choices=("tensor", "layer", "kind"), help="what a part is, for that")
    measure.add_argument(
        "--imatrix", type=Path, metavar="FILE", help="for sweep and sensitivity; a sweep collects one when it needs it"
    )
    measure.add_argument(
        "--both", action="store_true", help="measure every recipe of the sweep with the importance matrix as well"
    )
    measure.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="NAME",
        help="save the sweep as NAME.json, NAME.csv and NAME.svg, or the sensitivity as the first two",
    )
    replaces(measure)


def run(options) -> int:
    from quantlib.lm.texts import EVALUATION, read_texts

    texts = {name: text[: options.characters] for name, text in read_texts(options.text or EVALUATION).items()}
    if options.sweep:
        return _sweep(options, texts)
    if options.sensitivity:
        return _sensitivity(options, texts)
    return _compare(options, texts) if options.baseline else _measure(options, texts)


def _measure(options, texts) -> int:
    from quantlib.lm import Tokenizer, cut_texts, load, overall, perplexity_of

    with ql.open_checkpoint(options.model) as checkpoint:
        model, show = load(checkpoint, options.decoded), progress_line(options.model)
        windows = cut_texts(model, Tokenizer.of(checkpoint), texts, options.context)
        found = {name: perplexity_of(model, w, show) for name, w in windows.items()}
    total = overall(list(found.values()))
    rows = [{"text": n, "perplexity": p.value, "stderr": p.stderr, "tokens": p.tokens} for n, p in found.items()]
    if options.json:
        figures = {"perplexity": total.value, "stderr": total.stderr, "tokens": total.tokens}
        return print_json(figures | {"context": options.context, "texts": rows})
    print(f"perplexity {total.value:.4f} ± {total.stderr:.4f} over {total.tokens:,} tokens")
    if len(rows) > 1:
        print(tables.as_text(rows))
    return 0


def _compare(options, texts) -> int:
    from quantlib.lm import Tokenizer, bench, load, together, worst_tokens

    with ql.open_checkpoint(options.baseline) as original, ql.open_checkpoint(options.model) as checkpoint:
        tokenizer = Tokenizer.of(original)
        found = bench(original, texts, options.context).against(
            load(checkpoint, options.decoded), progress_line(options.model)
        )
    total = together(list(found.values()))
    figures, worst = asdict(total.summary()), [asdict(w) for w in worst_tokens(total, tokenizer, WORST)]
    if options.json:
        by_text = {name: asdict(c.summary()) for name, c in found.items()}
        return print_json(figures | {"context": options.context, "texts": by_text, "worst": worst})
    _print_comparison(total)
    if len(found) > 1:
        print("\n" + tables.as_text([{"text": name} | _short(c.summary()) for name, c in found.items()]))
    print("\nWhere it moved furthest:")
    for w in worst:
        print(f"  KL {w['divergence']:.3f}  …{w['before'][-48:]!r} → {w['right']!r}: {w['baseline_probability']:.3f} → "
              f"{w['probability']:.3f}; likeliest {w['baseline_top']!r} → {w['top']!r}")  # fmt: skip
    return 0


def _print_comparison(total) -> None:
    own, base, s = total.perplexity, total.baseline_perplexity, total.summary()
    p = s.kl_percentiles
    print(f"perplexity {own.value:.4f} ± {own.stderr:.4f} over {own.tokens:,} tokens")
    print(f"baseline   {base.value:.4f} ± {base.stderr:.4f}")
    print(f"difference {s.difference:+.4f} ± {s.difference_stderr:.4f}, ln ratio {s.log_ratio:+.6f} ± "
          f"{s.log_ratio_stderr:.6f}")  # fmt: skip
    print(f"KL divergence, nats: mean {s.kl:.6f} ± {s.kl_stderr:.6f}, median {p['50']:.6f}, 95% {p['95']:.6f}, "
          f"99% {p['99']:.6f}, 99.9% {p['99.9']:.6f}, largest {s.kl_largest:.6f}")  # fmt: skip
    print(f"changed top tokens {s.changed_top:.3%} ± {s.changed_top_stderr:.3%}")
    print(f"change of the right token's probability: mean {s.probability_change:+.3%}, root mean square "
          f"{s.probability_change_rms:.3%} ± {s.probability_change_rms_stderr:.3%}")  # fmt: skip


def _short(summary) -> dict:
    names = ("tokens", "perplexity", "difference", "difference_stderr", "kl", "changed_top")
    return {name: getattr(summary, name) for name in names}


def _sweep(options, texts) -> int:
    from quantlib.figures.frontier import frontier_svg
    from quantlib.figures.ladder import ladder
    from quantlib.lm import sweep

    with ql.open_checkpoint(options.model) as checkpoint:
        names, saved = _names(options.sweep), _saved(options, checkpoint, (".json", ".csv", ".svg"))
        matrix = _matrix(options, checkpoint, names)
        found = sweep(checkpoint, texts, names, options.context, matrix, options.both, progress_line("sweep"))
    rows = [{n: getattr(m, n) for n in SWEPT} | {n: getattr(m.total, n) for n in FIGURES} for m in found.measured]
    best = found.frontier()
    for row, m in zip(rows, found.measured, strict=True):
        row["frontier"] = m in best
    if saved:
        _save(saved, found.document(), rows, frontier_svg(found))
    if options.json:
        return print_json(found.document())
    columns = ("bpw", "perplexity", "difference", "difference_stderr", "kl", "changed_top", "frontier")
    named = zip(found.measured, rows, strict=True)
    print(tables.as_text([{"recipe": m.name} | {c: row[c] for c in columns} for m, row in named]))
    table = ladder(found)
    if len(table.rows) > 1:
        print("\n" + tables.as_text(table.rows) + "\n\n" + "\n".join(table.words))
    return 0


def _names(text: str) -> list[str]:
    from quantlib.figures.ladder import LADDER
    from quantlib.recipes import RECIPES, get_recipe

    groups = {"all": RECIPES, "ladder": LADDER}
    return list(groups[text]) if text in groups else [get_recipe(name.strip().upper()).name for name in text.split(",")]


def _sensitivity(options, texts) -> int:
    from quantlib.checkpoints import read_imatrix
    from quantlib.lm import sensitivity

    matrix = read_imatrix(options.imatrix) if options.imatrix else None
    with ql.open_checkpoint(options.model) as checkpoint:
        saved = _saved(options, checkpoint, (".json", ".csv"))
        show = progress_line("sensitivity")
        found = sensitivity(checkpoint, texts, options.sensitivity, options.by, options.context, matrix, show)
    columns = ("part", "weights", "kl", "kl_stderr", "changed_top", "difference", "difference_stderr")
    rows = [{c: getattr(p, c) for c in columns} for p in found.parts]
    if saved:
        _save(saved, found.document(), rows)
    if options.json:
        return print_json(found.document())
    print(tables.as_text(sorted(rows, key=lambda row: -row["kl"])))
    return 0


def _matrix(options, checkpoint, names):
    """The importance matrix of the sweep: the given file, or one collected on the project's calibration text."""
    from quantlib.checkpoints import read_imatrix
    from quantlib.lm import Tokenizer, imatrix, load
    from quantlib.lm.texts import CALIBRATION, read_texts

    if options.imatrix:
        return read_imatrix(options.imatrix)
    if not options.both and not any(ql.plan(checkpoint, name).lacking for name in names):
        return None
    tokenizer = Tokenizer.of(checkpoint)
    tokens = tokenizer.encode(*read_texts([CALIBRATION]).values())
    return imatrix(load(checkpoint), tokens, options.context, tokenizer.bos).matrix(CALIBRATION.name)


def _saved(options, checkpoint: ql.Checkpoint, endings: tuple[str, ...]) -> list[Destination]:
    reads = (*checkpoint.paths, *files_named(*(options.text or ()), options.imatrix))
    return saved_as(options.out, endings, options, reads)


def _save(saved: list[Destination], document: dict, rows: list[dict], svg: str = "") -> None:
    texts = (json.dumps({"made_by": MADE_BY} | document, indent=1), tables.as_csv(rows).rstrip("\n"), svg)
    for out, text in zip(saved, texts, strict=False):
        out.write_text(text + "\n")
