"""Merges, special token ids, and what is put around a text: what GGUF keeps beside the vocabulary.

Source: SpecialVocab in gguf.vocab, whose order of keys this follows. It differs in one point: a token that
tokenizer_config.json writes as an object is compared by its content, where the source finds it unequal to any text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from quantlib.checkpoints.base import MappedFile, MetadataValue, fault
from quantlib.checkpoints.convert.general import generation_config
from quantlib.checkpoints.convert.vocabulary import SPECIAL_KEYS, added_tokens, merges_of
from quantlib.checkpoints.untrusted import decode_text, read_json_if_there

ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # the key is spelled so
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
}
ADD_KEYS = {kind: f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")}
MAX_TEMPLATE = 2**20


@dataclass
class _Around:
    """What the post-processor says: which tokens are added, and the token texts it implies."""

    config: dict[str, object]
    add: dict[str, bool] = field(default_factory=dict)
    kinds: tuple[str, ...] = SPECIAL_KEYS


def special_metadata(
    folder: Path,
    tokenizer: dict[str, object] | None,
    config: dict[str, object],
    model: dict[str, object],
    merges: bool,
    size: int | None,
    further: Iterable[tuple[str, str]] = (),
) -> dict[str, MetadataValue]:
    """tokenizer.ggml.merges to tokenizer.chat_template; `size` bounds the ids where the vocabulary has scores.

    further: special tokens by kind and text, for kinds that nothing else names.
    """
    path, out = folder / "tokenizer.json", {}
    around = _Around(dict(config))
    added: dict[str, int] = {}
    if tokenizer is not None:
        for token in added_tokens(path, tokenizer):
            added.setdefault(token.content, token.id)
        if merges:
            texts = _merges(path, tokenizer)
            if texts:
                out["tokenizer.ggml.merges"] = MetadataValue("array[string]", texts)
        _post_processor(around, tokenizer, bool(config))
    ids: dict[str, int] = {}
    for kind in around.kinds if config else ():
        flag = around.config.get(f"add_{kind}_token")
        if isinstance(flag, bool):
            around.add.setdefault(kind, flag)
        text = _content(around.config.get(f"{kind}_token"))
        if text in added and (size is None or added[text] < size):
            ids.setdefault(kind, added[text])
    for kind in around.kinds:
        number = model.get(f"{kind}_token_id")
        if type(number) is int and 0 <= number < (2**32 if size is None else size):
            ids.setdefault(kind, number)
    end = None if "eos" in ids else _some_end(folder, model)
    if end is not None and (size is None or end < size):
        ids["eos"] = end
    for kind, text in further:
        if text in added:
            ids.setdefault(kind, added[text])
    out |= {ID_KEYS[kind]: MetadataValue("uint32", number) for kind, number in ids.items() if kind in ID_KEYS}
    out |= {ADD_KEYS[kind]: MetadataValue("bool", flag) for kind, flag in around.add.items() if kind in ADD_KEYS}
    if config:
        out |= _chat_template(folder, config)
    if tokenizer is not None:
        out |= _normalizer(tokenizer.get("normalizer"))
    return out


def _some_end(folder: Path, model: dict[str, object]) -> int | None:
    """The first of several ends of text in config.json, or what generation_config.json says: the converter takes one
    number from config.json and has none then, for which llama.cpp puts a number of its own."""
    for values in (model, generation_config(folder)):
        value = values.get("eos_token_id")
        first = value[0] if isinstance(value, list) and value else value
        if type(first) is int and 0 <= first < 2**32:
            return first
    return None


def _merges(path: Path, tokenizer: dict[str, object]) -> list[str]:
    """The merges as "left right"; spaces within a part become the byte-level character of a space."""
    return [" ".join(part.replace(" ", "Ġ") for part in merge) for merge in merges_of(path, tokenizer)]


def _post_processor(around: _Around, tokenizer: dict[str, object], with_config: bool) -> None:
    config = around.config
    for kind, stand_in in (("bos", "cls"), ("eos", "sep")):
        if with_config and not config.get(f"{kind}_token") and config.get(f"{stand_in}_token"):
            config[f"{kind}_token"] = config[f"{stand_in}_token"]
    processor = tokenizer.get("post_processor")
    if not isinstance(processor, dict):
        return
    processors = processor.get("processors", [processor])
    for part in processors if isinstance(processors, list) else ():
        match part:
            case {"type": "ByteLevel"}:
                around.add.setdefault("bos", False)
                around.add.setdefault("eos", False)
            case {"type": "RobertaProcessing"}:
                around.add |= {"bos": True, "eos": True, "sep": True}
                for kind in ("cls", "sep") if with_config else ():
                    value = part.get(kind)
                    if not config.get(f"{kind}_token") and isinstance(value, list) and value:
                        config[f"{kind}_token"] = value[0]
            case {"type": "TemplateProcessing"}:
                _template(around, part, with_config)
            case _:
                pass


def _template(around: _Around, part: dict[str, object], with_config: bool) -> None:
    """Whether the template of one text starts with bos and ends with eos, and that of two has a separator."""
    config = around.config
    bos, eos, sep, cls = (_content(config.get(f"{kind}_token")) for kind in ("bos", "eos", "sep", "cls"))
    single, pair = part.get("single"), part.get("pair")
    single = single if isinstance(single, list) else []
    pair = pair if isinstance(pair, list) else []
    first = last = None
    if len(single) > 1:
        first, last = _id(single[0], "SpecialToken"), _id(single[-1], "SpecialToken")
        if first:
            if not with_config:
                bos = first
            elif first not in (bos, cls):
                bos = config["bos_token"] = bos or first
                cls = config["cls_token"] = cls or first
            around.add["bos"] = first in (bos, cls)
        if last:
            if with_config and last != eos:
                # The end of a turn differs from the end of a text: what the config called eos becomes eot.
                spare = next((kind for kind in ("eot", "eom") if kind not in around.kinds), None)
                if spare:
                    around.kinds = (*around.kinds, spare)
                    config[f"{spare}_token"] = eos
                config["eos_token"] = last
            eos = last
            around.add["eos"] = True
    if not pair:
        return
    start = 1 if first and _id(pair[0], "SpecialToken") == first else 0
    stop = len(pair) - 1 if last and _id(pair[-1], "SpecialToken") == last else len(pair)
    middle = pair[start:stop]
    if middle and _id(middle[0], "Sequence") == "A" and _id(middle[-1], "Sequence") == "B" and middle[1:-1]:
        between = [_id(item, "SpecialToken") for item in middle[1:-1]]
        ends = [text for text in (sep, eos) if text]
        add_sep = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
        around.add["sep"] = add_sep
        if add_sep and not sep and with_config:
            config["sep_token"] = eos


def _id(item: object, kind: str) -> str | None:
    inner = item.get(kind) if isinstance(item, dict) else None
    value = inner.get("id") if isinstance(inner, dict) else None
    return value if isinstance(value, str) else None


def _content(value: object) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _chat_template(folder: Path, config: dict[str, object]) -> dict[str, MetadataValue]:
    """tokenizer.chat_template from tokenizer_config.json, chat_template.jinja or chat_template.json, in this order."""
    value = config.get("chat_template")
    jinja = folder / "chat_template.jinja"
    if value is None and jinja.is_file():
        value = _text(jinja)
    elif value is None and (other := read_json_if_there(folder / "chat_template.json")) is not None:
        value = other.get("chat_template")
    if isinstance(value, str):
        return {"tokenizer.chat_template": MetadataValue("string", value)}
    out: dict[str, MetadataValue] = {}
    names: dict[str, None] = {}
    default = None  # a dictionary without values keeps the order, and finds a name at once
    for entry in value if isinstance(value, list) else ():
        name, template = (entry.get(key) if isinstance(entry, dict) else None for key in ("name", "template"))
        if not isinstance(name, str) or not isinstance(template, str) or not name:
            continue
        name = "".join(char if char.isascii() and char.isalnum() else "_" for char in name[:64])
        if name == "default":
            default = template
        elif name not in names:
            names[name] = None
            out[f"tokenizer.chat_template.{name}"] = MetadataValue("string", template)
    if names:
        out["tokenizer.chat_templates"] = MetadataValue("array[string]", list(names))
    if default is not None:
        out["tokenizer.chat_template"] = MetadataValue("string", default)
    return out


def _text(path: Path) -> str:
    file = MappedFile(path)
    try:
        if file.size > MAX_TEMPLATE:
            raise fault(path, f"has {file.size:,} bytes, more than the {MAX_TEMPLATE:,} that are read of a template.")
        return decode_text(path, file.bytes(0, file.size).tobytes(), "text")
    finally:
        file.close()


def _normalizer(value: object) -> dict[str, MetadataValue]:
    """tokenizer.ggml.normalizer.* where the normalizer, or one of its sequence, lower-cases or strips accents."""
    out: dict[str, MetadataValue] = {}
    parts = [value]
    while parts:
        part = parts.pop(0)
        if not isinstance(part, dict):
            continue
        kind, inner = part.get("type"), part.get("normalizers")
        if kind == "Sequence" and isinstance(inner, list):
            parts = [*inner, *parts]
        if kind == "Lowercase":
            out["tokenizer.ggml.normalizer.lowercase"] = MetadataValue("bool", True)
        if kind == "StripAccents":
            out["tokenizer.ggml.normalizer.strip_accents"] = MetadataValue("bool", True)
        if kind == "BertNormalizer":
            flags = {flag: part.get(flag) for flag in ("lowercase", "strip_accents")}
            out |= {
                f"tokenizer.ggml.normalizer.{flag}": MetadataValue("bool", value)
                for flag, value in flags.items()
                if isinstance(value, bool)
            }
    return dict(sorted(out.items()))
