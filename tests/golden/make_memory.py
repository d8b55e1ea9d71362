"""Makes `llama_cpp_memory.json` again: what llama.cpp plans of memory for models of real size.

    pip install llama-cpp-python==0.3.36
    python tests/golden/make_memory.py [--check]

For every model that `quantlib.fit` knows, by context: MiB of all its caches and states, how many there are, and MiB of
the compute buffer. A model that the library refuses is left out. --check writes nothing and says whether anything
would differ.
"""

import json
import sys
import tempfile
from pathlib import Path

FILE = Path(__file__).with_name("llama_cpp_memory.json")
sys.path[:0] = [str(FILE.parents[1]), str(FILE.parents[2])]  # the tests' helpers, and quantlib
CONTEXTS = (8192, 65536)


def made(path: Path) -> dict[str, dict[str, list[float]]]:
    import llama_cpp
    from memory_log import hollow_file, planner

    from quantlib.fit import KNOWN

    found: dict[str, dict[str, list[float]]] = {}
    with planner(llama_cpp) as planned:
        for name in KNOWN:
            hollow_file(name, path)
            try:
                plans = {context: planned(path, context) for context in CONTEXTS}
            except AssertionError as error:
                print(f"{name} is left out: {str(error).strip().splitlines()[-1:]}")
                continue
            found[name] = {
                str(context): [round(sum(plan.caches), 2), len(plan.caches), plan.compute]
                for context, plan in plans.items()
            }
    return found


def main(check: bool) -> int:
    before = json.loads(FILE.read_text())
    with tempfile.TemporaryDirectory() as folder:
        found = made(Path(folder) / "model.gguf")
    differ = [name for name in before.keys() | found.keys() if before.get(name) != found.get(name)]
    print("the same as stored" if not differ else f"other than stored: {', '.join(sorted(differ))}")
    if not check and differ:
        lines = [f"{json.dumps(name)}: {json.dumps(plans)}" for name, plans in found.items()]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return bool(differ) and check


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv[1:]))
