"""What tests share. QUANTLIB_REQUIRE=browser,peers turns a skip for lack of those into a failure."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from requiring import lacking

ROOT = Path(__file__).parents[1]
DEMO_MODEL = ROOT / "assets" / "demo_model"
# A busy machine is no failure, and a run says the same twice; pytest --hypothesis-profile=explore looks for news.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


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
