"""Which of llama.cpp's pre-tokenizers a tokenizer.json describes, told by its structure and its regular expressions.

llama.cpp's converter tells them apart by hashing the tokens of a test text, which only knows published vocabularies;
the structure decides how text is split, whatever the vocabulary. Source of the expressions: src/llama-vocab.cpp.
"""

from __future__ import annotations

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TAIL_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_HEAD = r"[^\r\n\p{L}\p{N}]?"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CJK = "[一-龥぀-ゟ゠-ヿ]+"
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" + "\r\n" + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["
    "\r\n" + r"]*|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+"
)

_LLAMA3 = f"{_CONTRACTIONS}|{_LETTERS}|" + r"\p{N}{1,3}" + f"|{_TAIL}"
_QWEN2 = f"{_CONTRACTIONS}|{_LETTERS}|" + r"\p{N}" + f"|{_TAIL}"
_QWEN35 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    f"{_HEAD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_HEAD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|"
    + r"\p{N}{1,3}"
    + f"|{_TAIL_SLASH}"
)
_TEKKEN = f"{_HEAD}{_UPPER}*{_LOWER}+|{_HEAD}{_UPPER}+{_LOWER}*|" + r"\p{N}" + f"|{_TAIL_SLASH}"
_MINICPM5 = f"{_CONTRACTIONS}|{_LETTERS}|" + r"\p{N}+" + f"|{_TAIL}"
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"

# The steps of a pre-tokenizer -> llama.cpp's name. A step is a regular expression, "digits" for single digits, or
# "words" for GPT-2's own expression within ByteLevel.
KNOWN: dict[tuple[str, ...], str] = {
    ("words",): "gpt-2",
    (_GPT2,): "gpt-2",
    ("digits", "words"): "smollm",
    (_LLAMA3,): "llama-bpe",
    (_QWEN2,): "qwen2",
    (_QWEN35,): "qwen35",
    (_GPT4O,): "gpt-4o",
    (_TEKKEN,): "tekken",
    (r"\p{N}{1,3}", _MINICPM5): "minicpm5",
    (r"\p{N}{1,3}", _CJK, _DEEPSEEK3): "deepseek-v3",
    ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", "digits"): "deepseek-coder",
    (_BLOOM,): "bloom",
    (_BLOOM, "digits"): "viking",
}

# Where llama.cpp tells two tokenizers of one expression apart by whether whole words in the vocabulary skip the merges.
WITHOUT_IGNORE_MERGES = {"llama-bpe": "dbrx"}


def pre_tokenizer_name(tokenizer: dict[str, object]) -> str | None:
    """llama.cpp's name of the pre-tokenizer in a parsed tokenizer.json, None where it is none of the known."""
    steps = _steps(tokenizer.get("pre_tokenizer"))
    name = KNOWN.get(steps) if steps is not None else None
    model = tokenizer.get("model")
    ignore_merges = isinstance(model, dict) and model.get("ignore_merges") is True
    return name if ignore_merges else WITHOUT_IGNORE_MERGES.get(name, name)


def _steps(value: object) -> tuple[str, ...] | None:
    """The steps that split text, in order; None where one is of a kind that llama.cpp has no counterpart of."""
    parts = value.get("pretokenizers") if isinstance(value, dict) and value.get("type") == "Sequence" else [value]
    if not isinstance(parts, list):
        return None
    out: list[str] = []
    for part in parts:
        step = _step(part) if isinstance(part, dict) else None
        if step is None:
            return None
        out += step
    return tuple(out)


def _step(part: dict[str, object]) -> list[str] | None:
    match part:
        case {"type": "Digits"}:
            return ["digits"] if part.get("individual_digits") is True else None
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return [] if part.get("use_regex") is False else ["words"]  # use_regex is true where it is not said
        case {"type": "Split", "behavior": "Isolated" | "Removed", "pattern": {"Regex": str(regex)}}:
            inverted = part.get("invert") is True
            return [regex] if inverted == (part["behavior"] == "Removed") else None
        case _:
            return None
