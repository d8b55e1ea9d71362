"""llama.cpp's pre-tokenizers by name, and which of them a tokenizer.json describes, told by its regular expressions.

PRE_TOKENIZERS is the one table, for those who write GGUF and for those who read it: `steps_of` gives what a name in
tokenizer.ggml.pre means, `pre_tokenizer_name` the name of what a tokenizer.json says.

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
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"""
    "\r\n"
    r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["
    "\r\n"
    r"]*|\s*["
    "\r\n"
    r"]+|\s+(?!\S)|\s+"
)


def _characters(ranges: str) -> str:
    """A class of characters from hexadecimal code points and ranges of them."""
    parts = ([chr(int(code, 16)) for code in part.split("-")] for part in ranges.split())
    return f"[{''.join('-'.join(part) for part in parts)}]"


# Letters that have upper and lower case: what deepseek-llm takes for words.
_CASED = _characters(
    "41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c "
    "38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b "
    "1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 "
    "1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 "
    "2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b "
    "2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 "
    "fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df "
    "1e900-1e943 "
)
_MARKS = _characters("21-2f 3a-7e ff01-ff0f ff1a-ff5e 2018-201f 3000-3002")
_WIDE = "[一-龥ࠀ-一가-퟿]+"
_DEEPSEEK = ("[\r\n]", rf"\s?{_CASED}+", rf"\s?{_MARKS}+", r"\s+$", _WIDE)

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
_BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_SEED = f"{_CONTRACTIONS}|{_LETTERS}|" + r"\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"

DIGITS, WORDS = "digits", "words"

# Name -> the steps that cut a text, one within the pieces of the other, before its bytes become characters. A step is a
# regular expression whose matches are pieces of their own, DIGITS for single digits, or WORDS for GPT-2's expression.
PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "gpt-2": (WORDS,),
    "smollm": (DIGITS, WORDS),
    "llama-bpe": (_LLAMA3,),
    "qwen2": (_QWEN2,),
    "qwen35": (_QWEN35,),
    "gpt-4o": (_GPT4O,),
    "tekken": (_TEKKEN,),
    "minicpm5": (r"\p{N}{1,3}", _MINICPM5),
    "deepseek-v3": (r"\p{N}{1,3}", _CJK, _DEEPSEEK3),
    "deepseek-llm": (*_DEEPSEEK, r"\p{N}+"),
    "deepseek-coder": ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", DIGITS),
    "bailingmoe": (_BAILING,),
    "seed-coder": (_SEED,),
    "bloom": (_BLOOM,),
    "viking": (_BLOOM, DIGITS),
}

# Other names under which llama.cpp cuts text in the same way; some differ in what they put around a text.
SAME = {
    "gpt-2": "phi-2 jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert mpt olmo jais trillion granite-docling "
    "roberta-bpe jina-v1-en jina-v2-code exaone4",
    "smollm": "starcoder refact command-r codeshell exaone minerva-7b mellum2",
    "llama-bpe": "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe chatglm-bpe glm4",
    "qwen2": "deepseek-r1-qwen kormo f2llmv2 stablelm2 megrez hunyuan solar-open grok-2",
    "gpt-4o": "llama4 kanana2 talkie minimax-m2",
    "deepseek-v3": "hunyuan-dense joyai-llm",
    "bailingmoe": "bailingmoe2 llada-moe",
    "bloom": "poro-chat gpt3-finnish",
}
_CANONICAL = {other: name for name, others in SAME.items() for other in others.split()}

# Spellings of one expression in a tokenizer.json.
SPELLINGS = {
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])": _CONTRACTIONS,
    "?+": "?",
    "++": "+",
    '\\"': '"',
}
_NAMES = {steps: name for name, steps in PRE_TOKENIZERS.items()} | {
    (_GPT2,): "gpt-2",
    (DIGITS, _GPT2): "smollm",
    (*_DEEPSEEK, DIGITS): "deepseek-llm",
}

# Where llama.cpp tells two tokenizers of one expression apart by whether whole words in the vocabulary skip the merges.
WITHOUT_IGNORE_MERGES = {"llama-bpe": "dbrx"}


def steps_of(name: str) -> tuple[str, ...] | None:
    """The steps of a pre-tokenizer by its name in tokenizer.ggml.pre, None where it is none of the known."""
    return PRE_TOKENIZERS.get(_CANONICAL.get(name, name))


def pre_tokenizer_name(tokenizer: dict[str, object]) -> str | None:
    """llama.cpp's name of the pre-tokenizer in a parsed tokenizer.json, None where it is none of the known."""
    steps = _steps(tokenizer.get("pre_tokenizer"))
    name = _NAMES.get(steps) if steps is not None else None
    model = tokenizer.get("model")
    ignore_merges = isinstance(model, dict) and model.get("ignore_merges") is True
    return name if ignore_merges or name is None else WITHOUT_IGNORE_MERGES.get(name, name)


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
            return [DIGITS] if part.get("individual_digits") is True else None
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return [] if part.get("use_regex") is False else [WORDS]  # use_regex is true where it is not said
        case {"type": "Split", "behavior": "Isolated" | "Removed", "pattern": {"Regex": str(regex)}}:
            inverted = part.get("invert") is True
            for spelling, usual in SPELLINGS.items():
                regex = regex.replace(spelling, usual)
            return [regex] if inverted == (part["behavior"] == "Removed") else None
        case _:
            return None
