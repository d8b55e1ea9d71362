"""Every command of SERVING.md and of the Dockerfile starts a server that a browser can use by the names it is given."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from attacks import shake_hands, watching_calls
from conftest import PATIENCE, QUIET, finished, free_port, settle_chapter
from documented import ROOT, SERVING, commands, docker_run, hosts, instructions, prefix, served
from person import Person
from server import running as serving

COMMANDS = served()
PAGE = "what-a-float-stores"


@contextmanager
def started(command: str, folder: Path):
    """The port of a server that a documented command starts; what it says of the machine is replaced by this one's."""
    (folder / "models").mkdir()
    port = free_port()
    command = command.replace("/srv/models", str(folder / "models"))
    command = command.replace("QUANTLIB_REHEARSE=on", "QUANTLIB_REHEARSE=off")  # it takes minutes of both cores
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "TMPDIR": str(folder), "PATH": path, "PORT": str(port)}
    option = "" if "PORT" in command else f"--server.port {port}"
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            ["sh", "-c", f"{command.rstrip()} {option} & echo $! > {folder}/pid; wait"],
            cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        health = f"http://127.0.0.1:{port}{prefix(command)}/_stcore/health"
        for _ in range(600):
            try:
                urllib.request.urlopen(health, timeout=1)
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.2)
        yield port
    finally:
        os.kill(int((folder / "pid").read_text()), 15)
        process.wait(20)


@pytest.fixture(scope="module")
def named_browser(chromium):
    """A browser for which every example name is this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
    with playwright.sync_playwright() as running:
        rules = "--host-resolver-rules=MAP *.example.org 127.0.0.1"
        browser = running.chromium.launch(executable_path=chromium, args=[*QUIET, rules])
        yield browser
        browser.close()


def test_there_are_as_many_commands_as_the_text_describes():
    assert set(COMMANDS) == {
        "A workshop", "Behind a reverse proxy", "Behind a reverse proxy 2", "A container's CMD",
    }  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_opens_by_the_names_that_are_given(name, named_browser, tmp_path):
    command = COMMANDS[name]
    base = prefix(command)
    with started(command, tmp_path) as port:
        for host in hosts(command):
            page = named_browser.new_context().new_page()
            page.set_default_timeout(PATIENCE)
            refused, strangers = [], []
            page.on("response", lambda r, to=refused: to.append(f"{r.status} {r.url}") if r.status >= 400 else None)
            page.on("request", lambda r, to=strangers, own=host: to.append(r.url) if f"//{own}:" not in r.url else None)
            page.goto(f"http://{host}:{port}{base}/{PAGE}")
            settle_chapter(page)
            page.get_by_role("button", name="QR code of this page").click()
            code = page.locator(".ql.presenter .code img")
            code.wait_for()
            page.wait_for_function("i => i.complete && i.naturalWidth > 0", arg=code.element_handle())
            assert not refused
            assert not [url for url in strangers if url.startswith("http")], "everything comes from the app's own host"
            page.context.close()
        if len(hosts(command)) > 1:
            assert " 403 " in shake_hands(f"localhost:{port}")[1], "another name is refused"
        if "127.0.0.1" in hosts(command):
            finished(look(f"127.0.0.1:{port}{base}"))  # as the rehearsal does


async def look(address: str) -> None:
    async with Person(address, seed=1) as person:
        await person.visit(PAGE)
        assert not person.errors, person.errors


def test_the_container_has_what_it_needs_and_no_more():
    words = docker_run()
    for option, value in {
        "--restart": "unless-stopped", "--memory": "4g", "--memory-swap": "4g", "--pids-limit": "512",
        "--ulimit": "nofile=65536:65536", "--cap-drop": "ALL", "--security-opt": "no-new-privileges",
        "--volume": "quantlib-data:/data",
    }.items():  # fmt: skip
        assert words[words.index(option) + 1] == value
    assert "--read-only" in words
    assert instructions("USER") == ["app"]
    (image,) = instructions("FROM")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", image), "an exact image"
    for word in " ".join(instructions("COPY")).split():
        assert word == "./" or (ROOT / word).exists() or word == ".", word


def test_a_space_s_header_names_the_port_that_the_container_listens_on(tmp_path):
    (written,) = [line for line in commands() if line.startswith("printf")]
    (tmp_path / "space").mkdir()
    (tmp_path / "README.md").write_text("# The project\n")
    subprocess.run(["sh", "-c", written], cwd=tmp_path, check=True)
    header, _, rest = (tmp_path / "space" / "README.md").read_text().removeprefix("---\n").partition("---\n")
    said = dict(line.split(": ") for line in header.splitlines())
    assert (said["sdk"], rest) == ("docker", "\n# The project\n")
    assert instructions("ENV")[-1] == f"PORT={said['app_port']}"


def test_secrets_of_the_community_cloud_are_settings(tmp_path):
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(SERVING.partition("```toml\n")[2].partition("```")[0])
    asked = "import app; from pages.server.limits import LIMITS; print(LIMITS.hub, LIMITS.upload_bytes)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUANTLIB_")} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "100000000"]


def test_the_lock_file_holds_what_is_required():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "requirements.lock").read_text().replace("\\\n", "").splitlines()
    locked: dict[str, list[str]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            pinned = Requirement(line.split(" --hash=")[0].strip())
            (version,) = pinned.specifier
            assert version.operator == "==", line
            assert "--hash=sha256:" in line, line
            if pinned.marker is None or pinned.marker.evaluate():
                locked.setdefault(canonicalize_name(pinned.name), []).append(version.version)
    for line in (ROOT / "requirements.txt").read_text().split("\n"):
        if line.strip():
            wanted = Requirement(line)
            assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)][0]), f"renew the lock file: {line}"
    said = next(line for line in lines if "uv pip compile" in line).strip("# ")
    assert said in commands(), "SERVING.md tells how it was made"


def test_a_folder_that_cannot_be_written_to_ends_the_start_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(free_port())],
        cwd=ROOT, env={**os.environ, "QUANTLIB_FOLDER": str(tmp_path / "file")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode
    assert "QUANTLIB_FOLDER" in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--server.address", "0.0.0.0"], "server.allowedHosts is not set"),
        (["--server.allowedHosts", '["a.example.org", "127.0.0.1"]'], "one name at a time"),
        (["--server.address", "0.0.0.0", "--server.allowedHosts", "a.example.org"], None),
        (["--server.address", "127.0.0.1"], None),
    ],
)
def test_the_operator_is_warned_of_hosts_that_anybody_could_name(options, says, tmp_path):
    with serving(tmp_path, "--server.headless", "true", *options, **watching_calls(tmp_path)) as server:
        said = (tmp_path / "server.log").read_text()
        assert says in said if says else "allowedHosts" not in said
        assert not (tmp_path / "calls").exists(), "nobody outside is asked for this machine's address"
        assert server.process.poll() is None


def promises() -> list[tuple[str, str]]:
    """What SERVING.md promises, and the test that it names for it."""
    rows = [line.strip("| ").split(" | ") for line in SERVING.partition("| promise | test |")[2].splitlines()]
    return [(promise, test.strip("`")) for promise, test in (row for row in rows if len(row) == 2)]


@pytest.mark.parametrize(("promise", "test"), promises())
def test_every_promise_names_a_test_that_there_is(promise, test):
    path, _, name = test.partition("::")
    assert (ROOT / path).exists(), path
    assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), name


def test_there_are_promises():
    assert len(promises()) > 25
