"""What `pip install .` puts into a virtual environment: the engine works without the app, and the app where it may."""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

from quantlib.cli import COMMANDS

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
APP_ALONE = ("streamlit", "plotly", "segno", "pandas", "altair", "pyarrow", "PIL", "starlette")
# The packages that are needed lie in this environment already; those of the app are hidden from the engine's.
HIDE = f"""
import os, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {APP_ALONE} and "WITH_APP" not in os.environ:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A virtual environment with the wheel in it, which is built from a copy of the project; returns its programs."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "source").mkdir()
    for name in ("quantlib", "pages", "assets", ".streamlit"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(folder / "source")], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    programs = folder / "venv" / "bin"
    subprocess.run([*pip, "--python", str(programs / "python"), "install", "--no-deps", str(wheel)], check=True)
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    (packages / "sitecustomize.py").write_text(HIDE)
    return programs


def call(programs, *words, **environment) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(programs / "quantlib"), *map(str, words)], capture_output=True, text=True, cwd=programs,
        env={**kept, **environment}, timeout=300,
    )  # fmt: skip


def test_the_engine_works_without_the_app(installed, tmp_path):
    assert re.fullmatch(r"quantlib \d+\.\d+\.\d+\n", call(installed, "--version").stdout)
    shown = call(installed).stdout
    assert shown.startswith("usage: quantlib ") and all(name in shown for name in COMMANDS)
    out = tmp_path / "out.gguf"
    report = ("--report", tmp_path / "r.html")
    done = call(installed, "quantize", ROOT / "assets" / "demo_model", out, "--recipe", "Q8_0", *report)
    assert done.returncode == 0, done.stderr
    assert json.loads(call(installed, "hash", out, "--json").stdout)["files"]
    text = ROOT / "assets" / "evaluation" / "story.txt"
    done = call(installed, "perplexity", out, "--text", text, "--context", "64", "--json")
    assert done.returncode == 0, done.stderr


def test_the_engine_says_what_the_app_needs(installed):
    done = call(installed, "view", ROOT / "assets" / "demo_model")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'quantlib[app]'" in done.stderr and "Traceback" not in done.stderr


def test_the_app_is_installed_with_its_pages(installed):
    words = [str(installed / "quantlib"), "view", str(ROOT / "assets" / "demo_model"), "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"WITH_APP": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=installed, env=environment) as process:
        try:
            address = json.loads(process.stdout.readline())["address"]
            health = re.match(r"http://[^/]+/", address)[0] + "_stcore/health"
            for _ in range(300):
                try:
                    assert urllib.request.urlopen(health, timeout=5).status == 200
                    break
                except OSError:
                    assert process.poll() is None
                    time.sleep(0.2)
            else:
                pytest.fail("it did not answer")
            assert str(installed.parent) in os.readlink(f"/proc/{process.pid}/cwd")
        finally:
            process.terminate()
