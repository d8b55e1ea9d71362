"""adapter: a LoRA adapter to the GGUF file that llama.cpp takes with --lora."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints import write_gguf
from quantlib.cli.shared import command, print_json, replaces, writes
from quantlib.cli.words import printable
from quantlib.destinations import GGUF, destination
from quantlib.formats.format import Format

FORMATS = {"F32": "FP32", "F16": "FP16", "BF16": "BF16"}
MERGED = """
To add an adapter to the weights of its model instead, and quantize the sum:
    quantlib quantize MODEL OUT.gguf --adapter ADAPTER"""


def add(commands) -> None:
    adapter = command(
        commands, "adapter", run, "turn a LoRA adapter into a GGUF adapter",
        examples=("adapter lora/ lora.gguf --base model/", "adapter lora/ -o lora.gguf --base model/ --format F16"),
    )  # fmt: skip
    adapter.add_argument("adapter", metavar="ADAPTER", type=Path, help="a folder that the package peft wrote")
    writes(adapter, "OUT.gguf", "the file to write")
    adapter.add_argument(
        "--base", metavar="FOLDER", type=Path, required=True,
        help="the folder of the model that it changes; only its config.json is read",
    )  # fmt: skip
    adapter.add_argument("--format", choices=FORMATS, default="F32", help="of its matrices; default: %(default)s")
    adapter.epilog = f"{MERGED}\n\n{adapter.epilog}"
    replaces(adapter)


def _bytes(tensor: ql.Tensor, form: Format) -> Iterator[bytes]:
    yield form.quantize(tensor.rows()).tobytes()


def run(options: argparse.Namespace) -> int:
    from quantlib.checkpoints.convert.adapter import adapter_view

    form = ql.formats.get(FORMATS[options.format])
    with adapter_view(options.adapter, options.base) as view:
        out = destination(options.out, GGUF, view.paths, options.adapter, options.overwrite)
        tensors = [((tensor.name, tensor.shape, form.name), _bytes(tensor, form)) for tensor in view]
        with out.replacing() as file:
            write_gguf(file, view.metadata, tensors)
        count, alpha = len(view.tensors) // 2, view.value("adapter.lora.alpha")
    size = options.out.stat().st_size
    if options.json:
        return print_json({"out": str(options.out), "nbytes": size, "matrices": count, "alpha": alpha})
    print(f"{printable(options.out)}: {tables.size(size)}, {count} matrices changed; llama.cpp takes it with --lora.")
    return 0
