"""name: what the name of a published model says, part by part, and what it leaves open."""

from quantlib import tables
from quantlib.cli.shared import command, print_json
from quantlib.recipes.labels import read_label


def add(commands) -> None:
    sub = command(
        commands,
        "name",
        run,
        "say what the name of a published model means, part by part",
        examples=(
            "name Qwen3-8B-UD-Q4_K_XL.gguf",
            "name llama3.2:3b-instruct-q4_K_M",
        ),
    )
    sub.add_argument("text", metavar="NAME", help="a file's name, a model page's address or an Ollama tag; not fetched")


def run(options) -> int:
    label = read_label(options.text)
    found = tables.label(label)
    if options.json:
        return print_json(found)
    print(tables.as_text([{"part": p.text, "says": p.title} for p in label.parts]))
    print()
    print("\n".join(f"{p.text}: {p.title}. {p.meaning}" for p in label.parts if p.kind not in ("place", "model")))
    if label.nbytes:
        print(f"\nAt least {tables.size(label.nbytes)}: {label.weights:,} weights of {label.bits:g} bits or more.")
    if label.unknown:
        print("\nThe name does not say:")
        print("\n".join(f"  {one.what}: {one.where}" for one in label.unknown))
    elif not label.stored:
        print("\nNothing in this name says how its numbers are stored.")
    return 0
