"""Functions that only kernels call: compiled into those and never by themselves, which takes a fifth off the time.

numba makes machine code of every function, also of one that no Python calls. A part stops half-way: its code in LLVM's
form is linked into the kernel, and there it is optimized and made machine code with all else.

Leans on: numba's compiler classes and passes, and numba._dynfunc. Where one of them is gone, a part is a plain njit
function: the same results, compiled in more time.
"""

import copy
from typing import Any

from quantlib.numba_runtime.settings import PLAIN
from quantlib.numba_runtime.start import start

start()

from numba import njit  # noqa: E402

OPTIONS = dict(nogil=True, error_model="numpy")


def _compiler():
    """numba's compiler with another last step; ImportError or AttributeError where numba has no such steps."""
    from numba import _dynfunc  # type: ignore[attr-defined]  # compiled, so that no types are found
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import CompilerBase, DefaultPassBuilder
    from numba.core.compiler_machinery import register_pass
    from numba.core.typed_passes import NativeLowering

    for name in ("_optimize_final_module", "_finalize_final_module"):
        getattr(JITCodeLibrary, name)
    make_function = _dynfunc.make_function

    class Linkable(JITCodeLibrary):
        """Code to be linked into other code."""

        def _optimize_final_module(self) -> None:
            """The kernel's turn."""

        def _finalize_final_module(self) -> None:
            """Nothing to load: no machine code is made."""
            self._finalized = True

    def no_executable(library, description, environment):
        """What stands for a compiled function where there is none; numba tells overloads apart by it."""
        name = description.qualname.split(".")[-1]
        return make_function(description.lookup_module(), name, "", 0, environment, (library,))

    @register_pass(mutates_CFG=True, analysis_only=False)
    class PartLowering(NativeLowering):
        _name = "part_lowering"

        def run_pass(self, state) -> bool:
            whole = state.targetctx
            state["library"] = Linkable(whole.codegen(), state.func_id.func_qualname)
            state.targetctx = copy.copy(whole)
            state.targetctx.get_executable = no_executable
            try:
                return super().run_pass(state)
            finally:
                state.targetctx = whole

    class PartCompiler(CompilerBase):
        def define_pipelines(self) -> list[Any]:
            steps = DefaultPassBuilder.define_nopython_pipeline(self.state)
            steps.passes[:] = [(PartLowering if made is NativeLowering else made, what) for made, what in steps.passes]
            steps._finalized = False
            steps.finalize()
            return [steps]

    return PartCompiler


def part_options() -> dict[str, Any]:
    """Options of njit for a part: linked where this numba can do so, else compiled by itself."""
    if PLAIN:
        return OPTIONS
    try:
        compiler = _compiler()
    except (ImportError, AttributeError):
        return OPTIONS
    return OPTIONS | dict(no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=compiler)


part = njit(**part_options())
inlined = njit(forceinline=True, **part_options())
