"""Models by name: what is installed is offered with its size, names of the hub where the hub is allowed, and opened."""

from dataclasses import replace

import pytest

from pages.server import offered as offering
from pages.server.offered import SMALL, offered
from pages.server.opened import Shelf
from quantlib.errors import CheckpointError
from quantlib.fit.catalogue import KNOWN


@pytest.fixture
def installed(monkeypatch):
    """packaged(path): the one package whose model is there, or none."""

    def give(path):
        def packaged(name):
            if path is None:
                raise CheckpointError(f"The package {name} is not installed.")
            return path

        monkeypatch.setattr(offering, "packaged", packaged)

    return give


@pytest.mark.parametrize("hub", [True, False])
def test_only_what_the_server_may_open_is_offered(installed, monkeypatch, tmp_path, hub):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF" + bytes(96))
    monkeypatch.setattr(offering, "LIMITS", replace(offering.LIMITS, hub=hub))
    installed(file)
    assert [(one.name, one.nbytes) for one in offered()][:1] == [("m.gguf", 100)]
    assert [one.hub for one in offered()[1:]] == [KNOWN[name].hub for name in SMALL * hub]
    installed(None)
    assert len(offered()) == len(SMALL) * hub


def test_sizes_come_from_the_catalogue_and_decide_what_runs(installed):
    installed(None)
    found = {one.name: one for one in offered()}
    assert found["SmolLM2-135M-Instruct"].nbytes == 2 * KNOWN["SmolLM2-135M"].parameters
    assert found["SmolLM2-135M-Instruct"].runs and not found["SmolLM2-1.7B-Instruct"].runs


def test_a_model_of_a_package_is_opened_under_its_files_name(demo_model, tmp_path, monkeypatch):
    import quantlib as ql

    file = tmp_path / "small.gguf"
    with ql.open_checkpoint(demo_model) as checkpoint:
        ql.run(ql.plan(checkpoint, "Q8_0"), file)
    shelf = Shelf()
    opened = shelf.named("visit", offering.Offered(file.name, file.stat().st_size, file))
    assert (opened.name, opened.source) == ("small.gguf", "small.gguf")
    shelf.close("visit", opened.token)
