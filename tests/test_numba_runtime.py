"""numba's runtime: imported once, compiled code kept where nobody else can write, and a way without its inner parts."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest

from quantlib.numba_runtime import cache_folder, linked_functions, quick_loading

ROOT = Path(__file__).parents[1]
RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
import quantlib
from importlib import import_module
barrier, failed = threading.Barrier({count}), []
def load(name):
    barrier.wait()
    try:
        import_module(name)
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=load, args=(name,)) for name in {names}]
[t.start() for t in threads]
[t.join() for t in threads]
print(failed)
"""


def python(code: str, **environment: str) -> str:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")} | environment
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_the_runtime_imports_numba():
    files = [p for p in (ROOT / "quantlib").rglob("*.py") if p.parent.name != "numba_runtime"]
    lines = [line for p in files for line in p.read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if line.strip().startswith(("import numba", "from numba", "from llvmlite"))]


@pytest.mark.parametrize("turn", range(4))
def test_threads_that_import_kernels_at_once_all_get_them(turn):
    """However the threads take turns: without the lock, one of these in two failed."""
    kernels = sorted(p.stem for p in (ROOT / "quantlib" / "formats" / "kernels").glob("*.py") if p.stem != "__init__")
    names = ["quantlib.loss_kernel", *(f"quantlib.formats.kernels.{name}" for name in kernels)]
    names = names[turn:] + names[:turn]
    assert python(RACE.format(count=len(names), names=names)) == "[]"


def test_work_is_handed_to_threads_with_numba_imported():
    code = "import sys, quantlib.jobs.pool as pool; pool.shared_pool(); print(sys.modules['numba'].config.CACHE_DIR)"
    assert cache_folder.PREFIX in python(code)


def test_the_environment_stays_as_it_is():
    code = "import os; before = dict(os.environ); import quantlib.formats.kernels.legacy; print(before == os.environ)"
    assert python(code) == "True"


PRINT = "import quantlib.formats.kernels.scalar, numba; print(numba.config.CACHE_DIR)"
FOLDER = "from quantlib.numba_runtime.cache_folder import cache_folder; print(cache_folder())"


def test_a_named_folder_is_taken(tmp_path):
    folder = Path(python(PRINT, NUMBA_CACHE_DIR=str(tmp_path)))
    assert folder.parent == tmp_path and not stat.S_IMODE(folder.stat().st_mode) & 0o077
    assert Path(python(FOLDER, NUMBA_CACHE_DIR=str(tmp_path))) == folder  # found again by the next process


def named_folder(tmp_path: Path) -> Path:
    return Path(python(FOLDER, NUMBA_CACHE_DIR=str(tmp_path / "named"), TMPDIR=str(tmp_path)))


@pytest.mark.parametrize("how", ["everyone's", "group's", "a link", "a file"])
def test_a_folder_that_others_could_have_filled_is_passed_over(tmp_path, how):
    first = named_folder(tmp_path)
    assert first.parent == tmp_path / "named"
    if how in ("everyone's", "group's"):
        first.chmod(0o777 if how == "everyone's" else 0o770)
    else:
        first.rmdir()
        if how == "a link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            first.symlink_to(tmp_path / "elsewhere")
        else:
            first.write_bytes(b"")
    second = named_folder(tmp_path)
    assert second.parent != tmp_path / "named" and tmp_path in second.parents


@pytest.mark.skipif(not hasattr(os, "chown") or os.getuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_is_passed_over(tmp_path):
    first = named_folder(tmp_path)
    os.chown(first, 12345, 12345)
    assert named_folder(tmp_path).parent != tmp_path / "named"


def test_without_any_place_the_folder_is_of_this_process_alone(tmp_path):
    code = (
        "import quantlib.numba_runtime.cache_folder as c; c._is_ours = lambda folder: False; "
        "print(c.cache_folder().is_dir(), c.cache_folder())"
    )
    there, folder = python(code, TMPDIR=str(tmp_path)).split()
    assert there == "True" and Path(folder).parent == tmp_path


def test_other_sources_have_another_folder_and_old_ones_go_after_a_month(tmp_path, monkeypatch):
    source = tmp_path / "sources"
    source.mkdir()
    (source / "a.py").write_text("one")
    monkeypatch.setattr(cache_folder, "SOURCES", [source])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    first = cache_folder.cache_folder.__wrapped__()
    (source / "a.py").write_text("two")
    second = cache_folder.cache_folder.__wrapped__()
    assert first != second and first.is_dir()  # another version may be running from it
    long_ago = time.time() - cache_folder.STALE - 60
    os.utime(first, (long_ago, long_ago))
    assert cache_folder.cache_folder.__wrapped__() == second
    assert not first.exists()


def test_this_numba_has_what_is_leant_on():
    assert quick_loading.possible()
    assert "pipeline_class" in linked_functions.part_options()


@pytest.mark.parametrize("place", range(len(quick_loading.LEANS_ON)))
def test_a_numba_without_a_part_of_quick_loading_loads_in_its_own_way(monkeypatch, place):
    parts = list(quick_loading.LEANS_ON)
    parts[place] = (parts[place][0], "has_another_name_now")
    monkeypatch.setattr(quick_loading, "LEANS_ON", parts)
    function = quick_loading.compiled()(lambda x: x + 1)
    assert not isinstance(function._cache, quick_loading._QuickCache)
    assert function(1) == 2


@pytest.mark.parametrize("gone", ["_dynfunc", "core.compiler_machinery", "core.typed_passes", "core.codegen"])
def test_a_numba_without_linked_parts_compiles_each(monkeypatch, gone):
    monkeypatch.setitem(sys.modules, f"numba.{gone}", None)
    monkeypatch.delattr(numba, gone, raising=False)
    assert linked_functions.part_options() == linked_functions.OPTIONS


WITHOUT = """
import numpy as np
from quantlib import formats
x = np.random.default_rng(7).standard_normal((3, 256)).astype(np.float32)
form = formats.get({name!r})
data = form.quantize(x)
decoded = form.decode(form.unpack(data.reshape(-1, form.nbytes))).reshape(x.shape)
print((data == form.quantize_reference(x)).all(), (form.dequantize(data) == decoded).all())
"""


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_without_any_inner_part_the_bytes_are_the_same(tmp_path, name):
    assert python(WITHOUT.format(name=name), QUANTLIB_NUMBA="plain") == "True True"
