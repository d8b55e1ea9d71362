"""generate: a model writes on."""

import quantlib as ql
from quantlib.cli.shared import SOURCE_HELP, as_stored, command, natural, positive, print_json, temperature
from quantlib.cli.words import printable


def add(commands) -> None:
    write = command(
        commands,
        "generate",
        run,
        "let a model write on",
        examples=(
            "generate model.gguf 'Once upon a time'",
            "generate model.gguf 'Once' --tokens 200 --temperature 0.8 --seed 1",
        ),
    )
    write.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    write.add_argument("prompt", metavar="PROMPT")
    write.add_argument("--tokens", type=positive, default=64, metavar="N", help="at most so many, default %(default)s")
    write.add_argument("--temperature", type=temperature, default=0.0, metavar="T", help="0 takes the likeliest token")
    write.add_argument("--seed", type=natural, default=0, metavar="N", help="repeats what was drawn")
    write.add_argument(
        "--chat", action="store_true", help="the prompt is a question: the model's chat template is put around it"
    )
    as_stored(write)


def run(options) -> int:
    from quantlib.lm import Tokenizer, generate, load
    from quantlib.lm.chat import chat_tokens

    with ql.open_checkpoint(options.model) as checkpoint:
        tokenizer, model = Tokenizer.of(checkpoint), load(checkpoint, options.decoded)
        if options.chat:
            ids = chat_tokens(checkpoint, tokenizer, [{"role": "user", "content": options.prompt}])
        else:
            ids = tokenizer.encode(options.prompt)
        if not ids and tokenizer.bos is not None:
            ids = [tokenizer.bos]  # an empty prompt begins where every text does
        if not ids:
            raise ql.QuantlibError("The prompt is empty, and this model has no token to begin with; give it a word.")
        new = list(generate(model, ids, options.tokens, options.temperature, options.seed, stop=tokenizer.eos))
    text = tokenizer.decode(new)
    if options.json:
        return print_json({"prompt": options.prompt, "text": text, "tokens": new})
    print(printable(text if options.chat else options.prompt + text, lines=True))
    return 0
