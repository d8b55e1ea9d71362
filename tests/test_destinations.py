"""Whatever is written goes through one door: it harms nothing that the run reads, and follows no link."""

import os
import stat
from pathlib import Path

import pytest

from quantlib.cli import main
from quantlib.destinations import (
    GGUF,
    IMATRIX,
    TABLES,
    check_distinct,
    check_name,
    destination,
    new_name,
    open_own,
    portable,
)
from quantlib.errors import JobError

MODEL = b"GGUF\x03\0\0\0" + bytes(64)
MATRIX = b"GGUF\x03\0\0\0" + bytes(16) + b"imatrix.chunk_count" + bytes(32)
OURS = {
    ".json": b'{\n "made_by": "quantlib",\n',
    ".csv": b"name,shape,format,bpw,nbytes\n",
    ".md": b"| bits | method |\n",
}


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling": 1}')
    return folder


def ways_to(path: Path) -> list[Path]:
    """One file by other paths: through `..`, a symbolic link, a linked folder, a hard link."""
    base = path.parent.parent
    (base / "link").symlink_to(path)
    (base / "folder").symlink_to(path.parent, target_is_directory=True)
    os.link(path, base / "hard")
    return [path, path.parent / ".." / path.parent.name / path.name, base / "link", base / "folder" / path.name,
            base / "hard"]  # fmt: skip


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", [b"weights", MODEL])
def test_what_a_run_reads_is_never_written(model, overwrite, content):
    source = model / "model.safetensors"
    source.write_bytes(content)
    for path in ways_to(source):
        with pytest.raises(JobError, match="this run reads"):
            destination(path, GGUF, [source], model, overwrite)
    assert source.read_bytes() == content


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json"])
def test_a_models_other_files_stay_too(model, name):
    with pytest.raises(JobError, match="belongs to the model"):
        destination(model / name, TABLES[".json"], folder=model, overwrite=True)


@pytest.mark.parametrize(
    ("kind", "own", "foreign"),
    [
        (GGUF, MODEL, MATRIX),
        (GGUF, MODEL, b"older"),
        (IMATRIX, MATRIX, MODEL),
        *((TABLES[ending], head, b'{"hidden_size": 4}') for ending, head in OURS.items()),
    ],
)
def test_only_a_file_of_the_same_kind_is_replaced_unasked(tmp_path, kind, own, foreign):
    path = tmp_path / "there"
    path.write_bytes(foreign)
    with pytest.raises(JobError, match="--overwrite"):
        destination(path, kind)
    assert destination(path, kind, overwrite=True).path == path
    for content in (own, b""):
        path.write_bytes(content)
        assert destination(path, kind, folder=tmp_path).path == path


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, word in ((tmp_path / "pipe", "a pipe"), (Path("/dev/null"), "a device"), (tmp_path, "folder")):
        with pytest.raises(JobError, match=word):
            destination(path, GGUF, overwrite=True)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


NAMES = ("CON.gguf", "con", "nul.tar.gz", "COM1", "lpt9.gguf", "a:b.gguf", "what?.gguf", "a\nb", "a\0b", "dot.", "end ")


@pytest.mark.parametrize("name", [*NAMES, "n" * 256, "ü" * 128, "-", ".."])
def test_names_that_some_systems_do_not_have(tmp_path, name):
    with pytest.raises(JobError):
        check_name(tmp_path / name)
    fine = portable(name)
    check_name(tmp_path / fine)
    assert 0 < len(fine.encode()) <= 120


@pytest.mark.parametrize("name", ["console.gguf", "a" * 251, "ü" * 125, "模型.gguf", ".hidden", "com10"])
def test_names_that_all_systems_have(tmp_path, name):
    check_name(tmp_path / name)
    assert destination(tmp_path / name, GGUF).path.name == name


def test_two_outputs_are_two_files(tmp_path):
    (tmp_path / "same").symlink_to(tmp_path, target_is_directory=True)
    check_distinct([tmp_path / "a.gguf", tmp_path / "a.json"])
    for other in ("a.gguf", "A.GGUF", "same/a.gguf"):
        with pytest.raises(JobError, match="one file"):
            check_distinct([tmp_path / "a.gguf", tmp_path / other])


def test_a_new_folder_takes_no_name_that_is_there(tmp_path):
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    for path in (tmp_path, tmp_path / "broken"):
        with pytest.raises(JobError, match="there already"):
            new_name(path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(OURS[".json"])
    out = destination(path, TABLES[".json"])
    with pytest.raises(ValueError, match="half"), out.replacing() as file:
        file.write(b"half")
        raise ValueError("half")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (OURS[".json"], ["r.json"])
    out.write_text("new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["r.json"])


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(MODEL)
    (tmp_path / "out.gguf").symlink_to(tmp_path / "elsewhere")
    destination(tmp_path / "out.gguf", GGUF).write_text("new")
    assert (tmp_path / "elsewhere").read_bytes() == MODEL
    assert not (tmp_path / "out.gguf").is_symlink()


@pytest.mark.parametrize("planted", ["link", "dangling", "hard", "pipe", "folder"])
def test_a_working_file_that_somebody_planted_is_not_used(tmp_path, planted):
    victim, path = tmp_path / "victim", tmp_path / ".out.journal"
    victim.write_text("precious")
    match planted:
        case "link":
            path.symlink_to(victim)
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
        case "hard":
            os.link(victim, path)
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()
    with pytest.raises((JobError, OSError)):
        open_own(path)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_a_working_file_of_ours_is_opened_again(tmp_path):
    for content in (b"", b"first"):
        with os.fdopen(open_own(tmp_path / "own"), "r+b") as file:
            assert file.read() == content
            file.seek(0)
            file.write(b"first")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    from tiny_models import write

    return write("llama_bpe", tmp_path_factory.mktemp("small") / "model")


@pytest.mark.parametrize(
    "arguments",
    [
        "quantize model model/model.safetensors",
        "quantize model model/../model/config.json --overwrite",
        "quantize model model/tokenizer.json --overwrite",
        "quantize model linked.gguf --overwrite",
        "quantize model out.gguf --report model/config.json",
        "quantize model out.gguf --report model/config.json --overwrite",
        "quantize model out.gguf --report other.json",
        "quantize model same.json --report SAME.json",
        "quantize model -",
        "quantize model /dev/null",
        "quantize model pipe",
        "quantize model CON.gguf",
        "quantize model planted.gguf",
        "quantize model half.gguf",
        "quantize model text.txt",
        "quantize model out.gguf --method gptq --text text.txt --recipe Q4_0 --overwrite --report r.json",
        "quantize model text.txt --method gptq --text text.txt --overwrite",
        "imatrix model --text text.txt -o model/model.safetensors --overwrite",
        "imatrix model --text text.txt -o text.txt --overwrite",
        "imatrix model --text text.txt -o other.json",
        "inspect model --report model/config.json",
        "inspect model --against model --report model/tokenizer_config.json --overwrite",
        "perplexity model --text text.txt --sweep Q4_0 --out .",
        "perplexity model --text text.txt --sweep Q4_0 --out other",
        "compare model --text text.txt --out model/config",
        "export model model --as bnb-nf4",
        "export model NUL --as bnb-nf4",
        "export model pipe --as bnb-nf4",
    ],
)
def test_every_command_refuses_to_harm_what_is_there(small, tmp_path, monkeypatch, capsys, arguments):
    (tmp_path / "model").symlink_to(small, target_is_directory=True)
    (tmp_path / "linked.gguf").symlink_to(small / "model.safetensors")
    (tmp_path / "other.json").write_text('{"precious": true}')
    (tmp_path / "text.txt").write_text("A text.")
    (tmp_path / ".planted.gguf.journal").symlink_to(tmp_path / "text.txt")
    (tmp_path / ".half.gguf.partial").symlink_to(tmp_path / "text.txt")
    os.mkfifo(tmp_path / "pipe")
    before = contents(tmp_path) | contents(small)
    monkeypatch.chdir(tmp_path)
    status, said = main(arguments.split()), capsys.readouterr()
    assert (status, said.out) == (1, "")
    assert said.err.startswith("quantlib: ") and said.err.count("\n") == 1
    assert contents(tmp_path) | contents(small) == before


def test_what_was_written_is_replaced_by_the_next_run(small, tmp_path, capsys):
    """Also inside the model's folder; and a name of 251 characters is one like any other."""
    name = "n" * 246 + ".gguf"
    for _ in range(2):
        arguments = ("quantize", small, tmp_path / name, "--recipe", "Q8_0", "--report", small / "r.json")
        assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
    assert os.listdir(tmp_path) == [name]
    (small / "r.json").unlink()
