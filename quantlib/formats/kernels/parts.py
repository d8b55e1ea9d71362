"""Functions that only kernels call: compiled into those, and never by themselves, which takes a fifth off the time.

numba makes machine code of every function, also of one that no Python calls. A part stops half-way: its code in LLVM's
form is linked into the kernel, and there it is optimized and made machine code with all else.
"""

import copy

from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


class _Linkable(JITCodeLibrary):
    """Code to be linked into other code."""

    def _optimize_final_module(self) -> None:
        """The kernel's turn."""

    def _finalize_final_module(self) -> None:
        """Nothing to load: no machine code is made."""
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    _name = "part_lowering"

    def run_pass(self, state) -> bool:
        whole = state.targetctx
        state["library"] = _Linkable(whole.codegen(), state.func_id.func_qualname)
        state.targetctx = copy.copy(whole)
        state.targetctx.get_executable = _no_executable
        try:
            return super().run_pass(state)
        finally:
            state.targetctx = whole


def _no_executable(library, description, environment):
    """What stands for a compiled function where there is none; numba tells overloads apart by it."""
    name = description.qualname.split(".")[-1]
    return _dynfunc.make_function(description.lookup_module(), name, "", 0, environment, (library,))


class PartCompiler(CompilerBase):
    """numba's compiler with another last step."""

    def define_pipelines(self) -> list:
        steps = DefaultPassBuilder.define_nopython_pipeline(self.state)
        steps.passes[:] = [(_PartLowering if made is NativeLowering else made, what) for made, what in steps.passes]
        steps._finalized = False
        steps.finalize()
        return [steps]
