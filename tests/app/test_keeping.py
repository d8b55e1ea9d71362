"""What the server keeps for its visitors: limits, files, uploads, jobs, and what ends with a visit."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from pages.server import announced, files, limits, memory, opened, uploads
from pages.server.descriptors import Budget
from pages.server.jobs import Job, Registry
from pages.server.limits import Limits
from pages.server.security import policy
from pages.server.visits import VISITS, Visits
from quantlib.checkpoints.hub import Address
from quantlib.destinations import portable
from quantlib.errors import CheckpointError, JobError


@pytest.fixture(autouse=True)
def own_root(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def incoming():
    registry = uploads.Uploads()
    return registry, registry.expect("checkpoint", "me")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("owner/name", "hf://owner/name"),
        (" hf://owner/name@v1/x.gguf ", "hf://owner/name@v1/x.gguf"),
        ("https://huggingface.co/owner/name", "hf://owner/name"),
        ("http://www.huggingface.co/owner/name/?library=x#files", "hf://owner/name"),
        ("hf.co/owner/name/tree/main", "hf://owner/name@main"),
        ("https://huggingface.co/owner/name/tree/main/onnx", "hf://owner/name@main"),
        ("https://huggingface.co/owner/name/blob/v1/q/x.gguf?download=true", "hf://owner/name@v1/q/x.gguf"),
        ("https://huggingface.co/owner/name/resolve/main/x.gguf", "hf://owner/name@main/x.gguf"),
    ],
)
def test_a_name_of_the_hub_may_be_pasted_in_every_form(text, address):
    assert opened.hub_address(text) == address
    assert str(Address.parse(address)) == address


@pytest.mark.parametrize(
    "text",
    ["/etc/passwd", "../..", "https://elsewhere.example/owner/name", "file:///etc/passwd", "a/b@//host/x",
     "a/b/../../x", "https://huggingface.co/a/b/tree/../x", "https://huggingface.co@host/a/b", "a/b%2f..", "", "hf://hf://a/b"],
)  # fmt: skip
def test_what_is_no_name_of_the_hub_is_not_asked_for(text, monkeypatch):
    monkeypatch.setattr("quantlib.checkpoints.hub_opening.Repository", lambda *_: pytest.fail(f"{text} was asked for"))
    with pytest.raises(CheckpointError, match="is no address on the hub"):
        opened.shelf().hub("me", text)


def test_limits_come_from_the_environment():
    said = {"QUANTLIB_UPLOAD": "1.5GB", "QUANTLIB_HUB": "off", "QUANTLIB_JOBS": "3", "QUANTLIB_KEEP": ""}
    found = Limits.of(said)
    assert (found.upload_bytes, found.hub, found.jobs_at_once) == (1_500_000_000, False, 3)
    assert found.keep_seconds == Limits().keep_seconds
    odd = [("QUANTLIB_UPLOAD", "-1"), ("QUANTLIB_UPLOAD", "5 apples"), ("QUANTLIB_HUB", "perhaps")]
    for name, text in [*odd, ("QUANTLIB_FRAMES", "https://a.org; script-src *"), ("QUANTLIB_FRAMES", "a.org")]:
        with pytest.raises(ValueError, match=name):
            Limits.of({name: text})


def test_sites_that_are_named_may_frame_the_app():
    assert policy(()).startswith(b"frame-ancestors 'self';")
    sites = Limits.of({"QUANTLIB_FRAMES": "https://huggingface.co https://*.example.org:8443"}).frames
    assert policy(sites).startswith(b"frame-ancestors 'self' https://huggingface.co https://*.example.org:8443;")


def test_a_container_s_memory_is_what_counts(monkeypatch, tmp_path):
    whole = memory.found()
    said = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP", (said,))
    for text, found in (("max\n", None), ("1000000000\n", 10**9)):
        said.write_text(text)
        assert memory.found() == found if found else memory.found() >= whole


def test_files_are_private_and_debris_of_dead_servers_goes():
    own = files.root()
    assert own.stat().st_mode & 0o077 == 0
    assert files.base().stat().st_mode & 0o077 == 0
    dead = files.base() / "server-dead"
    (dead / "job").mkdir(parents=True)
    (dead / "job" / ".model.gguf.x.partial").write_bytes(b"half")
    kept = files.new_folder()
    files.clear_debris()
    assert not dead.exists()
    assert kept.exists()


def test_errors_name_no_folder_of_the_server():
    folder = files.new_folder()
    (folder / "1_Pooling").mkdir()
    said = (
        f"{folder}/1_Pooling/x.json is damaged; {folder}/a b.gguf lacks a tensor; {folder} is no model: {files.root()}."
    )
    assert files.told(CheckpointError(said)) == (
        "1_Pooling/x.json is damaged; a b.gguf lacks a tensor; this upload is no model: this upload."
    )
    assert files.told(JobError("/models/x.gguf was changed.")) == "/models/x.gguf was changed."


def test_pages_tell_errors_without_folders_of_the_server():
    raw = [p for p in (Path(__file__).parents[2] / "pages").rglob("*.py") if "str(error)" in p.read_text("utf-8")]
    assert {path.name for path in raw} <= {"files.py", "sharing.py"}  # which makes it, and of an address alone


def test_what_goes_while_it_is_counted_is_no_fault(tmp_path):
    """Visits end at any time: the server counts on while their folders go."""
    (tmp_path / "stays").write_bytes(b"1234567")
    done = threading.Event()

    def come_and_go():
        while not done.is_set():
            folder = tmp_path / "visit" / "inner"
            folder.mkdir(parents=True)
            (folder / "file").write_bytes(b"")
            files.shutil.rmtree(tmp_path / "visit")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert {files.size_of(tmp_path) for _ in range(500)} == {7}
    finally:
        done.set()
        thread.join()


def test_servers_that_start_together_each_get_a_folder(tmp_path):
    """Whoever makes a folder has not locked it yet: another that clears up in that moment takes it for debris."""
    start = "from pages.server import files; root = files.root(); files.clear_debris(); assert root.exists(); input()"
    there = {"env": {**os.environ, "TMPDIR": str(tmp_path)}, "cwd": Path(__file__).parents[2]}
    servers = [subprocess.Popen([sys.executable, "-c", start], stdin=subprocess.PIPE, **there) for _ in range(6)]
    assert [server.communicate(b"\n")[0] or server.returncode for server in servers] == [0] * 6


@pytest.mark.skipif(files.fcntl is None, reason="without locks nothing tells whose a young folder is")
def test_a_folder_that_is_taken_for_debris_is_replaced(tmp_path, monkeypatch):
    lock, made = files._lock, []

    def late(path: Path) -> bool:
        made.append(path)
        if len(made) == 1:
            files.shutil.rmtree(path)
        return lock(path)

    monkeypatch.setattr(files, "_lock", late)
    own = files.root()
    assert [own] == made[1:] and own.exists()


def test_only_folders_of_ours_are_removed(tmp_path):
    files.remove(None)
    files.remove(tmp_path)
    assert tmp_path.exists()
    folder = files.new_folder()
    files.remove(folder)
    assert not folder.exists()


def test_a_full_server_says_so():
    with pytest.raises(JobError, match="no room"):
        files.check_room(10**18)
    with pytest.raises(JobError, match="no room"):
        files.check_room(1, limits=Limits(disk_bytes=0))
    files.check_room(1)


def test_an_upload_comes_in_slices(incoming):
    registry, token = incoming
    registry.announce(token, [("model.gguf", 5), ("tokenizer.json", 0)])
    begun = registry.begin(token, 0, 0)
    begun.write(b"a")
    begun.write(b"bc")
    assert begun.end == 3
    with pytest.raises(uploads.Misplaced) as misplaced:
        registry.begin(token, 0, 0)
    assert misplaced.value.offset == 3
    with pytest.raises(CheckpointError, match="not complete"):
        registry.take(token)
    with pytest.raises(CheckpointError, match="larger"):
        registry.begin(token, 0, 3).write(b"too much")
    registry.begin(token, 0, 3).write(b"de")
    with pytest.raises(CheckpointError, match="not announced"):
        registry.begin(token, 7, 0)
    path, came, folder = registry.take(token)
    assert path.name == "model.gguf" and path.parent.parent == folder
    assert path.read_bytes() == b"abcde"
    assert [f.name for f in came] == ["model.gguf", "tokenizer.json"]
    with pytest.raises(CheckpointError, match="not known"):
        registry.begin(token, 0, 0)


def test_a_slice_that_is_sent_again_takes_the_place_of_the_one_that_hangs(incoming):
    registry, token = incoming
    registry.announce(token, [("model.gguf", 5)])
    stopped = []
    hanging = registry.begin(token, 0, 0, lambda: stopped.append(True))
    hanging.write(b"ab")
    again = registry.begin(token, 0, 2)
    assert stopped
    with pytest.raises(CheckpointError, match="sent again"):
        hanging.write(b"xx")
    again.write(b"cde")
    assert registry.take(token)[0].read_bytes() == b"abcde"


@pytest.mark.parametrize(
    ("names", "opens"),
    [
        (["model.gguf"], "model/model.gguf"),
        (["model.safetensors", "config.json"], "model/model.safetensors"),
        (["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"], "model/model-00001-of-00002.gguf"),
        (["model-1-of-2.safetensors", "model-2-of-2.safetensors", "config.json"], "model"),
        (["MODEL.GGUF"], "model/MODEL.GGUF"),
        (["model (1).gguf"], "model/model (1).gguf"),
        (["模型.gguf"], "model/模型.gguf"),
        (["sha256-" + "ab" * 32], "model/sha256-" + "ab" * 32),
        (["sha256:" + "ab" * 32], "model/sha256_" + "ab" * 32),
        (["con.gguf"], "model/_con.gguf"),
        (["Mini LM/model.safetensors", "Mini LM/1_Pooling/config.json"], "Mini LM/model.safetensors"),
        (["a/m-1.safetensors", "a/m-2.safetensors", "a/x/config.json"], "a"),
        (["one/model.safetensors", "two/config.json"], "model/one/model.safetensors"),
        (["model/model.gguf", "config.json"], "model/model/model.gguf"),
    ],
)
def test_what_is_opened_of_several_files(incoming, names, opens):
    registry, token = incoming
    registry.announce(token, [(name, 0) for name in names])
    path, _, found = registry.take(token)
    assert path == found / opens and path.exists()
    assert sum(file.is_file() for file in found.rglob("*")) == len(names)


BAD_NAMES = [
    "../x.gguf", "a/../x.gguf", "/etc/x.gguf", "//host/x.gguf", "a//x.gguf", "a/./x.gguf", "a/", "/", "..", "C:/x.gguf",
    "c:x.gguf", "a\\x.gguf", "..\\x.gguf", ".hidden.gguf", ".git/x.json", "x\x00.gguf", "a/\x1b[2J/x.gguf", "x.exe",
    "x.gguf\n", "\ud800.gguf", "a/\u202e/x.gguf", "m" * 196 + ".gguf", " /x.gguf", "LICENSE", "notes.pdf",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_not_part_of_a_checkpoint(incoming, name):
    registry, token = incoming
    with pytest.raises(CheckpointError, match="not part of a checkpoint"):
        registry.announce(token, [("model.gguf", 1), (name, 1)])


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5), st.booleans())
def test_no_name_leads_out_of_the_folder(parts, bare):
    try:
        (found,) = uploads.KINDS["checkpoint"].announced([("/".join([*parts, "x" * bare + ".gguf"]), 0)])
    except CheckpointError as refused:
        assert len(str(refused)) < 700
        return
    stored = found.stored.split("/")
    assert 2 <= len(stored) <= announced.DEEPEST + 1
    assert all(portable(part, announced.LONGEST) == part and part not in ("", ".", "..") for part in stored)


@pytest.mark.parametrize("name", ["model.pkl", "X.PICKLE"])
def test_pickles_are_refused(incoming, name):
    registry, token = incoming
    with pytest.raises(CheckpointError, match="pickle"):
        registry.announce(token, [(name, 1)])


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "MODEL.PTH", "x.ckpt", "w.npy", "w.npz", "m.onnx"])
def test_files_of_arrays_come_alone(incoming, name):
    registry, token = incoming
    with pytest.raises(CheckpointError, match="bring it alone"):
        registry.announce(token, [(name, 1), ("model.safetensors", 1)])
    registry.announce(token, [(name, 0)])
    assert registry.take(token)[0].name == name


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ([("config.json", 1)], "weights"),
        ([("model.gguf", 1), ("model.gguf", 1)], "same name"),
        ([("model.gguf", 1), ("MODEL.gguf", 1)], "differ only"),
        ([("a/model.gguf", 1), ("A/model.gguf", 1)], "differ only"),
        ([("é.gguf", 1), ("e\u0301.gguf", 1)], "differ only"),
        ([("a?.gguf", 1), ("a*.gguf", 1)], "same name"),
        ([("m/a.json", 1), ("m/a.json/x.gguf", 1)], "file and a folder"),
        ([("a/b/c/d/model.gguf", 1)], "too deep"),
        ([("model.gguf", 10**15)], "at most"),
        ([(f"m{i}.gguf", 0) for i in range(600)], "at most"),
    ],
)
def test_other_announcements_that_are_refused(incoming, said, says):
    registry, token = incoming
    with pytest.raises(CheckpointError, match=says):
        registry.announce(token, said)


def test_announcements_take_no_room_from_others_and_what_stops_coming_is_forgotten(monkeypatch):
    registry, limits_ = uploads.Uploads(), Limits(disk_bytes=30 * 10**9, spare_bytes=0)
    monkeypatch.setattr(uploads.files, "check_room", lambda needed: needed > limits_.disk_bytes and pytest.fail("full"))
    tokens = [registry.expect("checkpoint", "me") for _ in range(20)]
    for token in tokens:
        registry.announce(token, [("model.gguf", 20 * 10**9)])
    registry.begin(tokens[0], 0, 0).write(b"GGUF")
    folder = registry.get(tokens[0]).folder
    registry.expire(60)
    assert folder.exists()
    registry.expire(-1)
    assert not folder.exists()
    with pytest.raises(CheckpointError, match="not announced"):
        registry.begin(tokens[0], 0, 4)


def test_one_address_does_not_take_the_whole_disk(monkeypatch):
    monkeypatch.setattr(uploads, "LIMITS", Limits(disk_bytes=100, upload_bytes=40))
    registry = uploads.Uploads()
    first, second, third = (registry.expect("checkpoint", "me") for _ in range(3))
    registry.announce(first, [("model.gguf", 40)], "192.0.2.1")
    registry.begin(first, 0, 0).write(b"x" * 40)
    with pytest.raises(JobError, match="share"):
        registry.announce(second, [("model.gguf", 40)], "192.0.2.1")
    registry.announce(third, [("model.gguf", 40)], "192.0.2.2")


@pytest.mark.parametrize("what", ["tensors", "files"])
def test_one_address_opens_half_of_the_files_and_tensors(what, tmp_path, monkeypatch):
    """A file of two tensors, opened again and again: two fit into half of eight tensors, or of four files."""
    monkeypatch.setattr(opened, "MOST_TENSORS", 8 if what == "tensors" else 2**19)
    monkeypatch.setattr(opened, "budget", lambda: Budget(8 * (4 if what == "files" else 1000)))
    save_file({name: np.ones((2, 32), np.float32) for name in "ab"}, tmp_path / "m.safetensors")
    monkeypatch.setattr(opened, "LIMITS", Limits(directories=(tmp_path,)))
    for visit, address in (("crowd 1", "192.0.2.7"), ("crowd 2", "192.0.2.7"), ("somebody", "192.0.2.8")):
        VISITS.arrived(visit, address)
    shelf = opened.Shelf()
    for visit in ("crowd 1", "crowd 2"):
        shelf.path(visit, "m.safetensors")
    for visit in ("crowd 1", "crowd 2"):
        with pytest.raises(JobError, match="have 3 open" if what == "files" else "have 6 open"):
            shelf.path(visit, "m.safetensors")
    assert len(shelf.path("somebody", "m.safetensors").checkpoint.tensors) == 2
    VISITS.sweep(0)


def test_a_visit_that_has_gone_leaves_nothing():
    visits, released = Visits(), []
    visits.arrived("me", browser="mine")
    visits.keep("file", lambda: released.append("file"), "me")
    visits.left("me")
    visits.sweep(away_seconds=60)
    assert not released, "a lost connection may come back"
    visits.sweep(away_seconds=0)
    assert released == ["file"]


def test_a_reload_by_the_same_browser_holds_on():
    visits, released = Visits(), []
    visits.arrived("before", browser="mine")
    visits.keep("file", lambda: released.append("file"), "before")
    visits.arrived("after", browser="mine")
    visits.take_over("file", "after")
    visits.left("before")
    visits.sweep(away_seconds=0)
    assert not released and visits.holds("file", "after")


@pytest.mark.parametrize("browser", ["another", None, ""])
def test_a_guest_with_a_link_holds_nothing(browser):
    visits, released = Visits(), []
    visits.arrived("owner", browser="mine")
    visits.keep("file", lambda: released.append("file"), "owner")
    visits.arrived("guest", browser=browser)
    visits.take_over("file", "guest")
    assert not visits.holds("file", "guest")
    visits.left("owner")
    visits.sweep(away_seconds=0)
    assert released == ["file"]


def test_two_browsers_that_say_nothing_are_not_the_same():
    visits = Visits()
    for visit in ("owner", "guest"):
        visits.arrived(visit)
    visits.keep("file", lambda: None, "owner")
    visits.take_over("file", "guest")
    assert not visits.holds("file", "guest")


def test_what_its_owner_closes_is_gone_for_all():
    visits, released = Visits(), []
    for visit in ("owner", "other tab"):
        visits.arrived(visit, browser="mine")
    visits.keep("file", lambda: released.append("file"), "owner")
    visits.take_over("file", "other tab")
    visits.end("file")
    assert released == ["file"] and not visits.holds("file", "other tab")


def test_only_the_visit_of_a_job_may_cancel_it():
    registry, go = Registry(Limits()), threading.Event()
    for visit, browser in (("me", "mine"), ("after a reload", "mine"), ("guest", "another")):
        VISITS.arrived(visit, browser=browser)
    made = registry.submit(job(lambda j: go.wait(30)))
    for visit in ("after a reload", "guest"):
        assert registry.attach(visit, made.token) is made  # a link shows it
    assert [registry.is_of(made, visit) for visit in ("me", "after a reload", "guest")] == [True, True, False]
    go.set()


class Panic(BaseException):
    """What a library of another language raises: no Exception."""


@pytest.mark.parametrize("error", [Panic("range end index 9"), SystemExit(3), RuntimeError("inside"), MemoryError()])
def test_a_job_that_ends_in_anything_but_success_says_so(error):
    def work(j):
        raise error

    made = Registry(Limits()).submit(job(work))
    wait_for(made)
    assert made.error and made.error.endswith(".") and made.result is None
    assert "inside" not in made.error and "range end" not in made.error


def job(work, visit="me", **more) -> Job:
    return Job("test", "a test", work, visit, **more)


def test_jobs_wait_in_line_and_say_their_place():
    registry, go = Registry(Limits(jobs_per_session=1)), threading.Event()
    first = registry.submit(job(lambda j: go.wait(30)))
    second = registry.submit(job(lambda j: "second", "you"))
    assert (registry.ahead_of(first), registry.ahead_of(second)) == (0, 1)
    with pytest.raises(JobError, match="unfinished"):
        registry.submit(job(lambda j: None))
    go.set()
    wait_for(second)
    assert second.result == "second"
    assert registry.ahead_of(second) == 0


def test_the_line_has_an_end():
    registry, go = Registry(Limits(jobs_waiting=2, jobs_per_session=99)), threading.Event()
    for _ in range(2):
        registry.submit(job(lambda j: go.wait(30)))
    with pytest.raises(JobError, match="waiting"):
        registry.submit(job(lambda j: None))
    go.set()


def test_one_address_takes_half_of_the_line():
    registry, go = Registry(Limits(jobs_waiting=4, jobs_per_session=1)), threading.Event()
    for number in range(3):
        VISITS.arrived(f"crowd {number}", "192.0.2.7")
    VISITS.arrived("somebody", "192.0.2.8")
    for number in range(2):
        registry.submit(job(lambda j: go.wait(30), f"crowd {number}"))
    with pytest.raises(JobError, match="network address"):
        registry.submit(job(lambda j: None, "crowd 2"))
    last = registry.submit(job(lambda j: "done", "somebody"))
    go.set()
    wait_for(last)
    VISITS.sweep(0)


def test_a_job_that_finds_no_room_is_refused_before_it_starts():
    with pytest.raises(JobError, match="no room"):
        Registry().submit(job(lambda j: pytest.fail("it ran"), nbytes=10**18))


def test_a_failed_job_says_a_sentence_and_leaves_no_file():
    def work(j):
        j.new_file("model.gguf").write_bytes(b"half")
        raise JobError("It did not work.")

    failed = Registry().submit(job(work))
    wait_for(failed)
    assert failed.error == "It did not work."
    assert not failed.folder.exists()


def test_a_forgotten_job_stops_and_leaves_no_file():
    registry, running = Registry(), threading.Event()

    def work(j):
        j.new_file("model.gguf").write_bytes(b"half")
        running.set()
        assert j.stop.wait(30)

    made = registry.submit(job(work))
    assert running.wait(30)
    registry.forget(made.token)
    wait_for(made)
    assert not made.folder.exists()
    assert registry.get(made.token) is None


def test_results_are_not_kept_for_ever():
    registry = Registry()
    made = registry.submit(job(lambda j: j.new_file("x").write_bytes(b"x")))
    wait_for(made)
    registry.expire(3600)
    assert registry.get(made.token) is made
    registry.expire(-1)
    assert registry.get(made.token) is None
    assert not made.folder.exists()


def wait_for(made: Job) -> None:
    ended = threading.Event()
    for _ in range(3000):
        if made.done:
            return
        ended.wait(0.01)
    raise AssertionError("the job did not end")


@pytest.fixture
def allowed(tmp_path) -> Path:
    """A directory that is allowed, beside one that is not."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "model.gguf").write_bytes(b"GGUF")
    root = tmp_path / "models"
    (root / "one").mkdir(parents=True)
    (root / "one" / "model.gguf").write_bytes(b"GGUF")
    return root


def test_paths_under_an_allowed_directory(allowed):
    assert opened.allowed_path(str(allowed / "one"), [allowed]) == allowed / "one"
    assert opened.allowed_path("one/model.gguf", [allowed]) == allowed / "one" / "model.gguf"
    (allowed / "link").symlink_to(allowed / "one")
    assert opened.allowed_path("link", [allowed]) == allowed / "one"
    assert opened.listed([allowed]) == [str(allowed / "one" / "model.gguf")]


@pytest.mark.parametrize(
    "path", ["../secret", "one/../../secret/model.gguf", "/etc/passwd", "missing", "x\x00", "a" * 5000]
)
def test_paths_outside_are_refused_in_the_same_words(allowed, path):
    with pytest.raises(CheckpointError, match="no checkpoint of that path"):
        opened.allowed_path(path, [allowed])


def test_links_do_not_lead_out(allowed):
    (allowed / "out").symlink_to(allowed.parent / "secret")
    with pytest.raises(CheckpointError, match="no checkpoint of that path"):
        opened.allowed_path("out", [allowed])
    os.symlink(allowed.parent / "secret" / "model.gguf", allowed / "one" / "other.gguf")
    with pytest.raises(CheckpointError, match="links that lead out"):
        opened.allowed_path("one/model.gguf", [allowed])


def test_links_in_the_inner_folders_of_a_model_do_not_lead_out(allowed):
    model = allowed / "embedder"
    (model / "1_Pooling").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "1_Pooling" / "own.json").symlink_to(model / "config.json")
    assert opened.allowed_path("embedder", [allowed]) == model
    (model / "1_Pooling" / "config.json").symlink_to(allowed.parent / "secret" / "model.gguf")
    with pytest.raises(CheckpointError, match="links that lead out"):
        opened.allowed_path("embedder", [allowed])
    assert opened.allowed_path("one/model.gguf", [allowed]), "what lies in a folder beside it is not asked about"


def test_the_settings_that_are_documented_are_those_that_there_are():
    text = (Path(__file__).parents[2] / "SERVING.md").read_text(encoding="utf-8")
    assert limits.table() in text, "SERVING.md: copy the table that pages.server.limits.table() gives"
