"""embeddings: the vectors that a model makes of sentences, and how well they agree with another model's."""

from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import SOURCE_HELP, command, print_json

SHOWN = 5


def add(commands) -> None:
    embed = command(
        commands, "embeddings", run, "compare the embeddings that a model makes of sentences",
        examples=("embeddings model.gguf --text sentences.txt", "embeddings model.gguf --baseline original/"),
    )  # fmt: skip
    embed.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    embed.add_argument(
        "--baseline", metavar="MODEL", help="the original: cosine of each embedding to its own, and ranks"
    )
    embed.add_argument(
        "--text", type=Path, metavar="FILE", help="sentences, one a line; default: the 48 of this project"
    )
    embed.add_argument(
        "--pooling", choices=("mean", "cls", "last"), help="how tokens' vectors become one; default: as the model says"
    )


def run(options) -> int:
    from quantlib.lm.embedding import SENTENCES, read_sentences

    sentences = read_sentences(options.text or SENTENCES)
    return _compare(options, sentences) if options.baseline else _show(options, sentences)


def _compare(options, sentences: list[str]) -> int:
    from quantlib.lm.embedding import compare_embeddings

    with ql.open_checkpoint(options.baseline) as original, ql.open_checkpoint(options.model) as checkpoint:
        found = compare_embeddings(original, checkpoint, sentences, options.pooling)
    document = found.figures()
    order = found.furthest(SHOWN)
    worst = [{"cosine": float(found.cosine[i]), "moved": float(found.ranks[i]), "text": sentences[i]} for i in order]
    if options.json:
        return print_json(document | {"worst": worst})
    print(f"cosine to the original's: mean {document['cosine']:.6f}, lowest {document['cosine_lowest']:.6f}")
    print(f"the nearest neighbour is the same for {found.nearest:.1%} of {len(sentences)} sentences")
    print(f"neighbours moved by {document['rank_change']:.2f} places on average")
    print("\nWhere it turned furthest:\n" + tables.as_text(worst))
    return 0


def _show(options, sentences: list[str]) -> int:
    from quantlib.lm.embedding import load_embedder, tokens_of

    with ql.open_checkpoint(options.model) as checkpoint:
        embedder = load_embedder(checkpoint, options.pooling)
        vectors = embedder(tokens_of(checkpoint, sentences))
    if options.json:
        return print_json({"pooling": embedder.pooling, "sentences": sentences, "embeddings": vectors.tolist()})
    similar = vectors @ vectors.T
    rows = []
    for i, text in enumerate(sentences):
        similar[i, i] = -2
        nearest = int(similar[i].argmax())
        rows.append({"text": text, "nearest": sentences[nearest], "cosine": float(similar[i, nearest])})
    print(f"{vectors.shape[1]} values a sentence, pooling {embedder.pooling}")
    print(tables.as_text(rows))
    return 0
