"""perplexity: how well a model reads a text."""

from pathlib import Path

import quantlib as ql
from quantlib.cli.shared import SOURCE_HELP, command, positive, print_json, progress_line, read_text


def add(commands) -> None:
    measure = command(commands, "perplexity", run, "measure a model's perplexity on a text")
    measure.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    measure.add_argument("--text", required=True, type=Path, metavar="FILE", help="a UTF-8 text")
    measure.add_argument(
        "--context", type=positive, default=512, metavar="N", help="tokens a window, default %(default)s"
    )
    measure.add_argument("--baseline", metavar="MODEL", help="measure this model too, and the difference")


def run(options) -> int:
    from quantlib.lm import Tokenizer, load, perplexity

    text = read_text(options.text)

    def measure(source: str):
        with ql.open_checkpoint(source) as checkpoint:
            tokenizer = Tokenizer.of(checkpoint)
            return perplexity(
                load(checkpoint), tokenizer.encode(text), options.context, tokenizer.bos, progress_line(source)
            )

    found = measure(options.model)
    document = {"perplexity": found.value, "stderr": found.stderr, "tokens": found.tokens, "context": options.context}
    if options.baseline:
        base = measure(options.baseline)
        document |= {"baseline": base.value, "difference": found.value - base.value}
    if options.json:
        return print_json(document)
    print(f"perplexity {found.value:.4f} ± {found.stderr:.4f} over {found.tokens:,} tokens")
    if options.baseline:
        print(f"baseline   {base.value:.4f} ± {base.stderr:.4f}; difference {found.value - base.value:+.4f}")
    return 0
