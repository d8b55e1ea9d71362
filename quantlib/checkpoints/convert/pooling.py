"""How a model that makes embeddings joins those of its tokens, as sentence-transformers writes it beside the model.

Source: TextModel._try_set_pooling_type() of llama.cpp's conversion/base.py.
"""

from __future__ import annotations

from pathlib import Path

from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.untrusted import Fields, parse_json, plain_name, read_bytes_if_there, read_json

# What the pooling's own config.json may set or say -> llama.cpp's number.
FLAGS = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2, "pooling_mode_lasttoken": 3}
MODES = {"mean": 1, "cls": 2, "lasttoken": 3}


def read_pooling(folder: Path) -> int | None:
    """llama.cpp's number of the pooling that modules.json names: 1 mean, 2 first token, 3 last; None without any."""
    path = folder / "modules.json"
    text = read_bytes_if_there(path)
    modules = parse_json(path, text) if text is not None else []
    if not isinstance(modules, list):
        raise fault(path, "holds no JSON array of modules.")
    for module in modules:
        fields = Fields(path, module if isinstance(module, dict) else {}, "of a module that ")
        if not fields.string("type", "", limit=256).endswith("Pooling"):
            continue
        name = fields.string("path", "", limit=255)
        if not plain_name(name):
            raise fault(path, f"places its pooling in {shown(name)}, which is no plain folder name.")
        return _pooling(folder / name / "config.json")
    return None


def _pooling(path: Path) -> int | None:
    fields = Fields(path, read_json(path))
    flagged = next((number for flag, number in FLAGS.items() if fields.boolean(flag, False)), None)
    found = flagged or MODES.get(fields.string("pooling_mode", "", limit=64))
    if found is None:
        raise fault(path, "joins the embeddings of tokens in a way that llama.cpp does not have (mean, first, last).")
    return found
