"""The words of this project: one name for one thing, in code, captions, axes and documents."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Term:
    """A word and what it means, in one or two sentences that use no word defined later. symbol: as formulas write it."""

    name: str
    meaning: str
    symbol: str = ""
    also: tuple[str, ...] = ()


# In the order in which they can be explained: each uses only words above it.
TERMS = (
    Term("weight", "One of the numbers that a model has learned.", "w", ("parameter",)),
    Term("tensor", "A table of numbers with any count of dimensions. A matrix is a tensor with two."),
    Term("row", "The weights of a matrix that are multiplied with one input and added up to one output."),
    Term("layer", "One of the equal stages of a model. Each reads the values that run through the model and adds to them."),
    Term("token", "A piece of text that the model reads or writes at once: a word, a part of one, or a character."),
    Term("vocabulary", "All tokens that a model knows."),
    Term("activation", "A number that a layer computes from the text. Activations change with every text; weights do not.", "x"),
    Term("channel", "One position in a vector of activations, and the column of weights that it is multiplied with."),
    Term("bit", "A digit that is 0 or 1."),
    Term("format", "What a stored number can be: FP16, INT4, Q4_K, NF4.", also=("type",)),
    Term("checkpoint", "The file or folder that holds a model's tensors."),
    Term("GGUF", "The file format of llama.cpp: facts about the model, then its tensors, each in a format of its own."),
    Term("safetensors", "The file format of Hugging Face: a JSON header, then tensors as plain arrays."),
    Term("quantization", "Storing numbers in a format with fewer bits, which can hold fewer values."),
    Term("code", "The integer that is stored for a weight.", "q"),
    Term("stored value", "What a weight becomes when it is read back from its code.", "ŵ", ("x̂",)),
    Term("level", "A value that a format can hold."),
    Term("scale", "The number that a code is multiplied with to give the stored value.", "d"),
    Term("minimum", "The number that is subtracted after the scale was applied. Some formats of GGUF files have one.", "m"),
    Term("zero point", "The code that stands for zero.", "z"),
    Term("block", "The weights that share one scale in a GGUF format."),
    Term("group", "The same as a block, in integer formats outside GGUF."),
    Term("granularity", "How many weights share a scale: all of a tensor, those of a channel, or a group."),
    Term("super-block", "The 256 weights whose blocks share one scale of scales."),
    Term("sub-scale", "The small integer scale of one block inside a super-block.", "sc"),
    Term("sub-minimum", "The small integer minimum of one block inside a super-block.", "mn"),
    Term("super-scale", "The FP16 number that every sub-scale of a super-block is multiplied with.", "d"),
    Term("super-minimum", "The FP16 number that every sub-minimum of a super-block is multiplied with.", "dmin"),
    Term("k-quant", "A GGUF format of super-blocks: Q2_K to Q6_K."),
    Term("codebook", "A list of levels that need not be evenly spaced. The code says which entry is meant."),
    Term("i-quant", "A GGUF format in which one code picks an entry for four or eight weights at once."),
    Term("bits per weight", "All bits that are stored, scales included, divided by the number of weights.", also=("bpw",)),
    Term("relative error", "The root mean square of (ŵ − w), divided by the root mean square of w, in percent."),
    Term("squared error", "The sum of (ŵ − w)²."),
    Term("signal to noise", "−20 · log10 of the relative error, in decibels: 20 dB more is a tenth of the error.", also=("dB",)),
    Term("outlier", "A number much larger than its neighbours. It stretches the scale that they share."),
    Term("method", "How the codes are chosen, for instance by a search for the best scale."),
    Term("round to nearest", "Giving each weight the code whose stored value is closest.", also=("RTN",)),
    Term("calibration", "Running a model over a text to learn how large its activations are."),
    Term("importance matrix", "The mean square of each input channel's activations, which says where errors hurt.", also=("imatrix",)),
    Term("Hessian", "Here: the mean of x·xᵀ over a text. It says how an error in one weight can be made up for by others.", "H"),
    Term("GPTQ", "A method that rounds one column at a time and moves the columns not yet rounded to make up for the error."),
    Term("AWQ", "A method that scales up the weights of important channels before rounding, and the activations down."),
    Term("SmoothQuant", "Moving the largest activations into the weights, so that both can be stored in 8 bits."),
    Term("Hadamard matrix", "A square of ones and minus ones that mixes all channels; a spike in one becomes small in all."),
    Term("LLM.int8()", "Multiplying in 8 bits, except for a few channels with very large activations, which stay in 16."),
    Term("recipe", "Which tensor of a model gets which format: Q4_K_M, IQ3_XS.", also=("ftype",)),
    Term("logit", "The number that a model gives each token of its vocabulary before they are turned into probabilities."),
    Term("temperature", "What logits are divided by before a token is drawn. Higher draws unlikely tokens more often."),
    Term("nat", "A unit of surprise: −ln of the probability that the model gave to what came."),
    Term("perplexity", "e to the power of the mean surprise in nats: how many tokens the model hesitates between on average."),
    Term("KL divergence", "How far the quantized model's probabilities are from the original's, in nats per token.", also=("KLD",)),
    Term("top token", "The likeliest next token. The share of changed ones says how often a model would write another word."),
    Term("cache", "The keys and values of all tokens so far, which the model keeps while it writes.", also=("KV cache",)),
)  # fmt: skip


# What no term is looked for in: code, links, formulas, images, and the names of Streamlit's colours and badges.
APART = re.compile(r"(`+).+?\1|!?\[[^]]*\]\([^)]*\)|\$[^$]*\$|:[\w-]+(?=\[)", re.DOTALL)
EVERYDAY = {"type"}  # too common a word to be taken for its term


def found_in(text: str) -> Iterator[tuple[int, int, Term]]:
    """Where a Markdown text uses a term, in its order: (start, end, term). The longest term wins where two begin."""
    apart = [match.span() for match in APART.finditer(text)]
    for match in _pattern().finditer(text):
        if not any(start < match.end() and match.start() < end for start, end in apart):
            yield match.start(), match.end(), _by_word()[_plain(match.group())]


def slug(term: Term) -> str:
    """The term's anchor on the page of all of them."""
    return re.sub(r"[^a-z0-9]+", "-", term.name.lower()).strip("-")


@cache
def _by_word() -> dict[str, Term]:
    return {word.lower(): term for term in TERMS for word in (term.name, *term.also) if word not in EVERYDAY}


def _plain(word: str) -> str:
    """A word as the list has it: in small letters, and not in the plural."""
    low = word.lower()
    return low if low in _by_word() else low.removesuffix("s")


@cache
def _pattern() -> re.Pattern[str]:
    words = sorted(_by_word(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})s?(?![\w-])", re.IGNORECASE)


def markdown() -> str:
    """All terms as the page `docs/glossary.md`."""
    rows = [f"| {term.name} | {term.symbol} | {term.meaning} | {', '.join(term.also)} |" for term in TERMS]
    head = [
        "# Glossary", "", "One name for one thing, in code, captions, axes and documents. Made from `quantlib/glossary.py`.", "",
        "| word | symbol | meaning | others say |", "|---|---|---|---|",
    ]  # fmt: skip
    return "\n".join([*head, *rows]) + "\n"
