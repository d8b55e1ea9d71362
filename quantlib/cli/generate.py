"""generate: a model writes on."""

import quantlib as ql
from quantlib.cli.shared import SOURCE_HELP, as_stored, command, positive, print_json


def add(commands) -> None:
    write = command(commands, "generate", run, "let a model write on")
    write.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    write.add_argument("prompt", metavar="PROMPT")
    write.add_argument("--tokens", type=positive, default=64, metavar="N", help="at most so many, default %(default)s")
    write.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest token")
    write.add_argument("--seed", type=int, default=0, metavar="N", help="repeats what was drawn")
    as_stored(write)


def run(options) -> int:
    from quantlib.lm import Tokenizer, generate, load

    with ql.open_checkpoint(options.model) as checkpoint:
        tokenizer, model = Tokenizer.of(checkpoint), load(checkpoint, options.decoded)
        ids = tokenizer.encode(options.prompt)
        new = list(generate(model, ids, options.tokens, options.temperature, options.seed, stop=tokenizer.eos))
    text = tokenizer.decode(new)
    if options.json:
        return print_json({"prompt": options.prompt, "text": text, "tokens": new})
    print(options.prompt + text)
    return 0
