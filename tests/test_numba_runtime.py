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


PRINT = "import quantlib.formats.kernels.scalar, numba; print(numba.config.CACHE_DIR)"
FOLDER = "from quantlib.numba_runtime.start import start; print(start())"


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
        "print(c.cache_folder('1').is_dir(), c.cache_folder('1'))"
    )
    there, folder = python(code, TMPDIR=str(tmp_path)).split()
    assert there == "True" and Path(folder).parent == tmp_path


@pytest.mark.parametrize("place", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_place_in_which_others_could_exchange_the_folder_is_passed_over(tmp_path, monkeypatch, place, mode):
    shared = tmp_path / "shared"
    base = shared if place == "NUMBA_CACHE_DIR" else shared / "numba"
    base.mkdir(parents=True)
    base.chmod(mode)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv(place, str(shared))
    monkeypatch.setattr(cache_folder, "PYCACHE", tmp_path / "a file" / "__pycache__")
    monkeypatch.setattr(cache_folder.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "a file").touch()
    found = cache_folder.cache_folder.__wrapped__("1")
    sticky = mode & stat.S_ISVTX
    assert (base in found.parents) if sticky else (base not in found.parents)


def test_other_sources_and_another_numba_have_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_folder, "PACKAGE", tmp_path)
    monkeypatch.setattr(cache_folder, "SOURCES", ["*.py"])
    (tmp_path / "a.py").write_text("one")
    first, newer = cache_folder.folder_name("0.66.0"), cache_folder.folder_name("0.67.0")
    (tmp_path / "a.py").write_text("two")
    assert len({first, newer, cache_folder.folder_name("0.66.0")}) == 3


def test_old_folders_go_after_a_month_and_no_sooner(tmp_path):
    used, other, kept = (tmp_path / f"{cache_folder.PREFIX}{name}" for name in ("used", "other", "kept"))
    for folder in (used, other, kept):
        folder.mkdir()
    long_ago = time.time() - cache_folder.STALE - 60
    for folder in (used, other):
        os.utime(folder, (long_ago, long_ago))
    cache_folder.delete_stale(used)
    assert used.exists() and kept.exists() and not other.exists()


IMPORTS = """
import gc, os, sys, threading
def state():
    return dict(os.environ), gc.isenabled(), gc.get_threshold(), gc.callbacks[:]
before = state()
import quantlib, quantlib.__main__, quantlib.formats.kernels.legacy, quantlib.jobs, quantlib.lm
kinds = {type(module).__name__ for name, module in sys.modules.items() if name.startswith("quantlib")}
print(before == state(), threading.active_count(), kinds)
"""


def test_importing_changes_nothing_of_the_process(tmp_path):
    """Neither the environment nor the collector nor folders of other versions, nor what a module is."""
    old = tmp_path / f"{cache_folder.PREFIX}old"
    old.mkdir()
    os.utime(old, (0, 0))
    assert python(IMPORTS, NUMBA_CACHE_DIR=str(tmp_path)) == "True 1 {'module'}"
    assert old.exists()


TINY = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from tiny_kernel import double
print(double(2), double(2.5), sum(double.stats.cache_hits.values()), sum(double.stats.cache_misses.values()))
"""


@pytest.fixture
def tiny(tmp_path):
    """run(): call a kernel for two types in a process of its own. files(): what it left on disk."""
    (tmp_path / "tiny_kernel.py").write_text(
        "from quantlib.numba_runtime.quick_loading import compiled\n\n@compiled()\ndef double(x):\n    return x + x\n"
    )

    class Tiny:
        def run(self):
            return python(TINY.format(folder=str(tmp_path)), NUMBA_CACHE_DIR=str(tmp_path / "named"))

        def files(self, suffix):
            return sorted((tmp_path / "named").rglob(f"*{suffix}"))

    return Tiny()


def test_compiled_code_comes_back_from_disk(tiny):
    assert tiny.run() == "4 5.0 0 2"
    assert tiny.run() == "4 5.0 2 0"


@pytest.mark.parametrize("suffix, left", [(".nbc", 40), (".nbi", 0), (".nbi", 40)])
def test_half_a_file_is_compiled_again(tiny, suffix, left):
    """As a machine leaves it that loses its power."""
    tiny.run()
    for path in tiny.files(suffix):
        path.write_bytes(path.read_bytes()[:left])
    assert tiny.run().startswith("4 5.0")


def test_code_for_other_types_is_not_run(tiny):
    """As two processes leave it that save two signatures at once: both in the index, under one name."""
    tiny.run()
    one, two = tiny.files(".nbc")
    two.write_bytes(one.read_bytes())
    assert tiny.run() == "4 5.0 1 1"
    assert tiny.run() == "4 5.0 2 0"


def test_a_full_disk_loses_only_the_copy(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(quick_loading.FunctionCache, "save_overload", full)
    function = quick_loading.compiled()(lambda x: x + 3)
    assert function(1) == 4


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


GONE = """
import sys
from quantlib.numba_runtime.start import start
start()
import numba.core.codegen, numba.core.compiler, numba.core.registry, numba.core.typed_passes
numba.core.registry.cpu_target.target_context  # numba itself has loaded what it needs
sys.modules["numba._dynfunc"] = None
del numba._dynfunc
from quantlib.numba_runtime import linked_functions, quick_loading
quick_loading.LEANS_ON += ((quick_loading.FunctionCache, "has_another_name_now"),)
assert not quick_loading.possible() and linked_functions.part_options() == linked_functions.OPTIONS
"""


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_where_the_inner_parts_are_gone_the_bytes_are_the_same(tmp_path, name):
    assert python(GONE + WITHOUT.format(name=name), NUMBA_CACHE_DIR=str(tmp_path)) == "True True"


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_without_any_inner_part_the_bytes_are_the_same(tmp_path, name):
    assert python(WITHOUT.format(name=name), QUANTLIB_NUMBA="plain") == "True True"
