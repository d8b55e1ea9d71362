"""The golden Hugging Face models with their weights, written once a session."""

from pathlib import Path

import pytest
import tiny_models


@pytest.fixture(scope="session")
def golden_models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hf")
    names = (*tiny_models.WHOLE, *tiny_models.architectures())
    return {name: tiny_models.write(name, root / name) for name in names}
