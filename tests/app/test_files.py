"""Uploaded files: names are data, pickles are refused, old folders go."""

import io
import os
import time

import pytest

from pages.ui import files
from quantlib.errors import CheckpointError


class Upload(io.BytesIO):
    def __init__(self, name: str, data: bytes = b"data"):
        super().__init__(data)
        self.name, self.size, self.file_id = name, len(data), name


@pytest.fixture(autouse=True)
def own_root(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))


def test_one_file_is_opened_as_itself_and_shards_as_a_folder():
    assert files.store([Upload("model.gguf")]).name == "model.gguf"
    assert files.store([Upload("model.safetensors"), Upload("config.json")]).name == "model.safetensors"
    shards = [Upload(f"model-{i}-of-2.safetensors") for i in (1, 2)]
    assert files.store([*shards, Upload("config.json")]).is_dir()


@pytest.mark.parametrize(
    "name", ["../x.gguf", "a/b.gguf", ".hidden.gguf", "x\x00.gguf", "x.exe", "config.JSON", "<b>.gguf"]
)
def test_names_that_are_not_part_of_a_checkpoint(name):
    with pytest.raises(CheckpointError, match="not part of a checkpoint"):
        files.store([Upload("model.gguf"), Upload(name)])


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "MODEL.PTH", "x.ckpt"])
def test_pickles_are_refused(name):
    with pytest.raises(CheckpointError, match="pickle"):
        files.store([Upload(name)])


def test_side_files_alone_are_no_checkpoint():
    with pytest.raises(CheckpointError, match="weights"):
        files.store([Upload("config.json")])


def test_a_name_brought_twice_is_told():
    with pytest.raises(CheckpointError, match="same name"):
        files.store([Upload("model.gguf"), Upload("model.gguf")])


def test_a_full_server_says_so(monkeypatch):
    monkeypatch.setattr(files, "SPARE_BYTES", 1 << 62)
    with pytest.raises(CheckpointError, match="no room"):
        files.store([Upload("model.gguf")])


def test_old_folders_go_and_fresh_ones_stay():
    old, fresh = (files.store([Upload("model.gguf")]) for _ in range(2))
    past = time.time() - 2 * files.KEEP_SECONDS
    for path in (old, old.parent):
        os.utime(path, (past, past))
    files.sweep()
    assert not old.exists()
    assert fresh.exists()


def test_nobody_else_can_read_them():
    assert files.root().stat().st_mode & 0o077 == 0
