"""The structure holds: imports run one way, and each layer imports only what it may."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gguf import MODEL_ARCH_NAMES

from quantlib.architectures import KNOWN
from quantlib.architectures.families.requantized import REQUANTIZED
from quantlib.architectures.pre_tokenizers import PRE_TOKENIZERS, SAME
from quantlib.tables import architectures_in_words

ROOT = Path(__file__).parents[1]
FREE = {"glossary", "errors", "amounts", "showing"}  # imported by all
LAYERS = [  # a module may import its own layer's package and the layers before it
    {"numba_runtime", "destinations"},
    {"formats", "architectures"},
    {"loss_kernel"},
    {"metrics"},
    {"methods", "checkpoints", "recipes"},
    {"jobs"},
    {"lm"},  # it measures what plans leave of a model
    {"inspection", "exports", "cards"},
    {"tables"},
    {"notebook"},  # what values show of themselves
    {"fit"},
    {"figures", "cli", "__main__", "__init__"},
]
OUTSIDE = {
    "destinations": set(),
    "numba_runtime": {"numba", "llvmlite"},
    "formats": {"numpy", "ml_dtypes", "gguf"},
    "architectures": {"numpy"},
    "methods": {"numpy", "ml_dtypes"},
    "metrics": {"numpy"},
    "loss_kernel": {"numpy"},
    "recipes": set(),
    "checkpoints": {"numpy", "ml_dtypes", "gguf", "safetensors", "tokenizers", "huggingface_hub", "yaml"},
    "jobs": {"numpy", "distributed"},
    "lm": {"numpy", "threadpoolctl", "tokenizers", "jinja2"},
    "inspection": {"numpy"},
    "exports": {"numpy", "safetensors"},
    "tables": {"numpy"},
    "notebook": set(),
    "cards": set(),
    "fit": {"numpy"},
    "figures": {"numpy", "plotly"},
    "cli": {"tqdm"},
    "__main__": set(),
    "__init__": {"numpy"},
}
FILES = sorted((ROOT / "quantlib").rglob("*.py"))


def unit(path: Path) -> str:
    relative = path.relative_to(ROOT / "quantlib")
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> set[str]:
    """Absolute module names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == "quantlib":
                found |= {f"quantlib.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = unit(path)
    if own in FREE:
        assert not {m for m in imports(path) if m.startswith("quantlib")}
        return
    rank = next(i for i, layer in enumerate(LAYERS) if own in layer)
    below = FREE.union(*LAYERS[:rank])
    allowed = below | {own} | (LAYERS[rank] if own in {"cli", "__main__"} else set())
    for module in imports(path):
        head, _, rest = module.partition(".")
        if head == "quantlib":
            top = not rest and own in {"cli", "__main__"}
            assert top or rest.split(".")[0] in allowed, f"{path} imports {module}"
        elif head not in sys.stdlib_module_names:
            assert head in OUTSIDE[own], f"{path} imports {module}"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _RunTime(ast.NodeTransformer):
    """Leaves out what only type checkers import."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


def test_no_two_files_import_each_other():
    """Imports form no circle, also those inside functions; a package's own list of what it offers is left out."""
    files = {module_of(path): path for path in FILES if path.name != "__init__.py"}
    arrows = {}
    for name, path in files.items():
        found = set()
        for node in ast.walk(_RunTime().visit(ast.parse(path.read_text(encoding="utf-8")))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        arrows[name] = found & files.keys()
    while ends := {name for name, found in arrows.items() if not found & arrows.keys()}:
        arrows = {name: found for name, found in arrows.items() if name not in ends}
    assert not arrows  # those on a circle, and those that lead to one


def test_pages_do_no_arithmetic_on_arrays():
    for path in (ROOT / "pages").rglob("*.py"):
        if path.name != "warmup.py":
            assert not {m for m in imports(path) if m.split(".")[0] in {"numpy", "numba", "plotly"}}, path


def test_the_server_knows_nothing_of_how_pages_look():
    for path in (ROOT / "pages" / "server").rglob("*.py"):
        for module in imports(path):
            head, _, rest = module.partition(".")
            assert head != "pages" or rest.split(".")[0] == "server", f"{path} imports {module}"


def test_what_visitors_bring_comes_by_the_app_s_own_uploads():
    """Streamlit's uploads are refused at the door: they would be held in memory (`pages/server/routes.py`)."""
    asking = [
        path
        for path in (ROOT / "pages").rglob("*.py")
        if re.search(r"\b(file_uploader|chat_input|camera_input|audio_input)\(", path.read_text("utf-8"))
    ]
    assert not asking


def test_importing_quantlib_is_light():
    """Neither Streamlit nor Plotly nor torch comes in with the library, and nothing is compiled."""
    heavy = ("streamlit", "plotly", "torch", "pandas", "huggingface_hub")
    code = f"import sys, quantlib; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_the_project_speaks_of_itself_alone():
    files = [p for d in ("quantlib", "pages", "tests", "assets") for p in (ROOT / d).rglob("*.py")]
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org")
    assert not [p for p in files if any(host in p.read_text(encoding="utf-8") for host in hosts)]


# What GGUF calls kinds of tokenizers, and llama.cpp the ways in which they cut text.
TOKENIZERS = {
    "llama",
    "gpt2",
    "bert",
    "t5",
    *PRE_TOKENIZERS,
    *(name for same in SAME.values() for name in same.split()),
}


def words_of(path: Path) -> set[str]:
    """The texts in a module's code, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, holders) and isinstance(n.body[0], ast.Expr)}
    constants = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs)
    return {constant.value for constant in constants if isinstance(constant.value, str)}


# Programs and formats with a family's name in theirs.
OTHERS = ("llama.cpp", "llama-cpp", "llama-quantize", "llama-imatrix", "llama-perplexity", "bitnet")


def names_of_families(names: set[str], text: str) -> set[str]:
    """The names that stand in a text, whole or as words of it."""
    for other in OTHERS:
        text = text.replace(other, "")
    return names & {text, *re.findall(r"[A-Za-z0-9_.-]+", text)}


def test_nothing_outside_names_a_family():
    """What is said of a model family is said in quantlib/architectures/families, also of those that only GGUF has.

    The names are all of llama.cpp's and all that a declaration has; tables by name are texts in code like any other.
    """
    declared = {name for known in KNOWN for name in (known.name, known.model_type, *known.variants, *known.classes)}
    names = {*declared, *MODEL_ARCH_NAMES.values(), *(each.name for each in REQUANTIZED)} - {"clip"}
    assert names_of_families(names, r"(?:bert|none)\.") and names_of_families(names, "a falcon b")
    for path in FILES:
        vocabularies = path.parent.name in ("convert", "tokenization") or path.stem in ("tokenizer", "pre_tokenizers")
        if path.parent.name != "families":
            sought = names - TOKENIZERS if vocabularies else names
            assert not {name for text in words_of(path) for name in names_of_families(sought, text)}, path


def test_what_a_family_says_of_itself_alone_is_not_said_of_its_heirs():
    """Declarations are made from each other; what llama.cpp asks by name must not come along."""
    seventy = {each.name for each in (*KNOWN, *REQUANTIZED) if each.rules.seventy_b}
    assert seventy == {"llama", "qwen2", "deci", "olmo"}
    assert {each.name for each in KNOWN if each.generation} == {"llama"}
    assert not {each.name for each in KNOWN if each.rules.own_down or each.rules.kept or each.rules.finest}


def test_the_readme_lists_the_architectures():
    run, embed, converted = architectures_in_words()
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"become GGUF and run: {run}." in text
    assert f"become GGUF and make embeddings: {embed}." in text
    assert f"become GGUF: {converted}." in text


def test_no_two_test_modules_share_a_name():
    # tests import their helpers by bare name: of two with one name, the folder that comes first on the path wins
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in ("conftest.py", "make.py")]
    assert sorted(names) == sorted(set(names))
