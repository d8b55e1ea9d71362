"""Every script of the browser is a module that parses, alone and in the bundles that pages send."""

import re
import subprocess
from pathlib import Path

import javascript
import pytest

from pages.ui import component

ASSETS = Path(__file__).parents[2] / "assets"
SCRIPTS = sorted(ASSETS.rglob("*.js"))


def parsed(source: str) -> str:
    """What node has against a module, empty where it has nothing."""
    command = [javascript.node(), "--input-type=module", "--check"]
    return subprocess.run(command, input=source, capture_output=True, text=True).stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_parses(path):
    assert parsed(path.read_text(encoding="utf-8")) == ""


def test_a_script_that_does_not_parse_is_noticed():
    assert "SyntaxError" in parsed("export const x = ;")


@pytest.mark.parametrize("path", [p for p in SCRIPTS if p.parent.name == "component"], ids=lambda p: p.stem)
def test_imports_name_modules_that_are_there(path):
    for name in re.findall(r'^(?:import|\}) [^"]*from "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
        assert name.startswith("./") and (path.parent / name).is_file(), name


@pytest.mark.parametrize(
    "path", [p for p in SCRIPTS if "export default" in p.read_text(encoding="utf-8")], ids=lambda p: p.stem
)
def test_bundles_parse(path):
    bundle = component.bundle(path.name)  # where no two of its modules use one name at their top
    assert parsed(bundle) == "" and not re.search(r"^import ", bundle, re.MULTILINE)


STILL = re.compile(r"@media \(prefers-reduced-motion: no-preference\)\s*\{(?:[^{}]|\{[^{}]*\})*\}")  # asked for no less


@pytest.mark.parametrize("path", sorted(ASSETS.rglob("*.css")), ids=lambda path: path.stem)
def test_nothing_moves_for_whoever_asked_for_less_motion(path):
    """Whatever takes time to move does so only where nobody asked for less of it; a delay alone moves nothing."""
    always = STILL.sub("", path.read_text("utf-8"))
    for said in re.findall(r"(?:transition|animation)(?:-duration)?\s*:\s*([^;}]+)", always):
        for one in said.split(","):
            times = re.findall(r"(\d*\.?\d+)m?s\b", one)
            assert not times or float(times[0]) == 0, f"{path.name}: {said}"
