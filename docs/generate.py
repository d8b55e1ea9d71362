"""Makes docs/supported.md of what the code declares: python docs/generate.py"""

from pathlib import Path

from quantlib import tables

PAGE = Path(__file__).with_name("supported.md")
FILES = (
    ("a Hugging Face folder", "`config.json` and any number of safetensors shards, or PyTorch's"),
    ("safetensors", "a file of anything; names of a known model are recognized"),
    ("GGUF", "every format below, in one file or in parts; any architecture"),
    ("PyTorch `.pt`, `.pth`, `.bin`, `.ckpt`", "tensors without running the pickle"),
    ("NumPy `.npy`, `.npz`", "arrays of numbers"),
    ("ONNX", "its initializers"),
    ("the hub", "`hf://owner/name[@revision][/file.gguf]`: headers at once, weights when they are asked for"),
)


def listed(titles: str) -> str:
    """Titles in one line, as a list."""
    return "\n".join(f"- {title}" for title in titles.split(", "))


def supported() -> str:
    """The page."""
    run, embed, converted = tables.architectures_in_words()
    rows = [
        {"format": f["name"], "kind": f["kind"], "bits per weight": f["bpw"], "block": f["values"],
         "importance": f["importance"], "what it is": f["summary"]}
        for f in tables.formats()
    ]  # fmt: skip
    return "\n\n".join([
        "# Supported files, models and formats",
        "Made from the code by `docs/generate.py`.",
        "## Files that open",
        tables.as_markdown([{"file": name, "what is read": what} for name, what in FILES]),
        "## Architectures",
        "Folders of these become GGUF, and the models run here:",
        listed(run),
        "Folders of these encoders become GGUF, and their embeddings are compared here:",
        listed(embed),
        "Folders of these become GGUF:",
        listed(converted),
        "GGUF files of any architecture can be looked at and quantized.",
        "## Formats",
        tables.as_markdown(rows),
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(supported(), encoding="utf-8")
