"""Files that name other files: whatever the name, only a plain one in the same folder is looked at."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from array_files import Initializer, onnx
from safetensors.numpy import save_file

from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.convert.pooling import read_pooling
from quantlib.errors import CheckpointError

CHECKPOINTS = Path(__file__).parents[2] / "quantlib" / "checkpoints"
NAMES = {
    "upwards": "../secret/{}", "further up": "a/../../secret/{}", "absolute": "{folder}/secret/{}", "inner": "inner/{}",
    "backslashes": "..\\\\secret\\\\{}", "a drive": "C:{}", "a URL": "file:{}", "hidden": ".{}", "a zero": "x\0{}",
    "nothing": "", "a line": "x\n{}", "turned round": "x\u202e{}", "too long": "x" * 300 + "{}", "a space": " {}",
}  # fmt: skip


def index(folder: Path, name: str, file: str, weights: str) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / file).write_text(json.dumps({"weight_map": {"w": name.replace("{}", weights)}}))
    open_checkpoint(folder)


def of_safetensors(folder: Path, name: str) -> None:
    index(folder, name, "model.safetensors.index.json", "model.safetensors")


def of_pytorch(folder: Path, name: str) -> None:
    index(folder, name, "pytorch_model.bin.index.json", "model.bin")


def of_diffusers(folder: Path, name: str) -> None:
    (folder / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    said = {"weight_map": {"w": name.replace("{}", "model.safetensors")}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(said))
    open_checkpoint(folder)


def of_onnx(folder: Path, name: str) -> None:
    one = Initializer("w", dims=(2, 32)).beside(location=name.replace("{}", "model.safetensors"))
    (folder / "m.onnx").write_bytes(onnx(one))
    open_checkpoint(folder / "m.onnx")


def of_modules(folder: Path, name: str) -> None:
    said = [{"type": "sentence_transformers.models.Pooling", "path": name.replace("{}", "1_Pooling")}]
    (folder / "modules.json").write_text(json.dumps(said))
    read_pooling(folder)


# Where a file's content names another file, by the module that reads it.
PLACES: dict[Callable, str] = {
    of_safetensors: "huggingface.py", of_pytorch: "huggingface.py", of_diffusers: "huggingface.py",
    of_onnx: "onnx_file.py", of_modules: "convert/pooling.py",
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("kind", NAMES)
def test_only_plain_names_are_followed(place, kind, tmp_path):
    secret, folder = tmp_path / "secret", tmp_path / "model"
    for outside in (secret, folder / "inner"):
        (outside / "1_Pooling").mkdir(parents=True)
        (outside / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
        save_file({"w": np.ones((2, 32), np.float32)}, outside / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no plain|at most 255"):
        place(folder, NAMES[kind].replace("{folder}", str(tmp_path)))


def test_all_such_names_go_through_one_door():
    """The listing of a repository on the hub is the other content that names files; its names are not paths here."""
    using = {
        path.relative_to(CHECKPOINTS).as_posix()
        for path in CHECKPOINTS.rglob("*.py")
        if "import" in path.read_text("utf-8") and " plain_name" in path.read_text("utf-8")
    }
    assert using - {"untrusted.py", "hub_opening.py"} == set(PLACES.values())
