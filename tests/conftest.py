"""What tests share. QUANTLIB_REQUIRE=browser,peers turns a skip for lack of those into a failure.

The whole suite (`pytest` alone) runs in two processes, each file's tests in one of them; what is asked for by a path,
by -k or by -m runs in one, as does everything with -n 0. The slow files come first, so that none is left to one process
at the end.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from requiring import lacking

ROOT = Path(__file__).parents[1]
DEMO_MODEL = ROOT / "assets" / "demo_model"
PROCESSES = 2
SLOW_FIRST = ("app", "stress", "hostile", "lm", "test_numba_runtime.py", "jobs")
COMPILE = "import sys; from quantlib import formats; formats.warm_up(list(formats.FORMATS)[:: int(sys.argv[1])])"
# A busy machine is no failure, and a run says the same twice; pytest --hypothesis-profile=explore looks for news.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    option = config.option
    chosen = option.file_or_dir or option.keyword or option.markexpr or option.collectonly or option.usepdb
    if not chosen and getattr(option, "numprocesses", 0) is None and not hasattr(config, "workerinput"):
        option.numprocesses, option.dist, option.loadscopereorder = PROCESSES, "loadfile", False


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile every kernel before several processes come to the first one: else each would compile it."""
    if getattr(session.config.option, "numprocesses", None):
        _compile_kernels()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        part = item.path.relative_to(ROOT / "tests").parts[0]
        return SLOW_FIRST.index(part) if part in SLOW_FIRST else len(SLOW_FIRST)

    items.sort(key=place)
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter) -> None:
    """A browser that came too late once is no reason to stop, and no reason to be silent."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed at first: {report.nodeid}", yellow=True)
        terminalreporter.write_line(report.longreprtext)


def _compile_kernels() -> None:
    """By two processes, one from each end of the list of formats: what the other has compiled comes from disk."""
    ends = [subprocess.Popen([sys.executable, "-c", COMPILE, step], cwd=ROOT) for step in ("1", "-1")]
    assert not any([end.wait() for end in ends]), "the kernels cannot be compiled"


@pytest.fixture(scope="session")
def peer():
    """peer("llama_cpp"): the module of another implementation."""

    def load(name: str):
        if importlib.util.find_spec(name) is None:
            lacking("peers", name)
        return importlib.import_module(name)

    return load


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        lacking("browser", "Chromium")
    return path


@pytest.fixture(scope="session")
def demo_model() -> Path:
    return DEMO_MODEL
