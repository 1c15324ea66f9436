"""Compile the text of a module with LLVM for the processor at hand, and give the addresses of its functions."""

from __future__ import annotations

from functools import cache
from typing import Any

from undertow.compile.image import are_made_here

# What is left for a module when each function is simplified: loops are written for vectors, and no function is worth
# inlining. LLVM's own list for a module takes a quarter longer to compile, and its code is no faster.
PASSES = (
    "loop_simplify", "lcssa", "loop_unroll", "sroa", "instruction_combine", "sinking", "simplify_cfg",
    "dead_code_elimination",
)  # fmt: skip


@cache
def machine() -> Any:
    """Return LLVM's description of this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # the driver pauses in a loop, which takes one line of assembler
    features = llvm.get_host_cpu_features().flatten()
    if "+avx512f" in features:
        features += ",-prefer-256-bit"
    # Code for images refers to its constants by distance; other code is put where LLVM likes, and names addresses.
    where = {"reloc": "pic", "codemodel": "small"} if are_made_here() else {"jit": True}
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, **where
    )


def assemble(text: str, names: dict[str, str] | None = None) -> bytes:
    """Optimize a module and return its object file.

    Args:
        text: LLVM's assembly language.
        names: what functions are to be called, by their names in the text.
    """
    import llvmlite.binding as llvm

    target = machine()
    module = llvm.parse_assembly(text)
    module.verify()  # what is wrong would otherwise end the process in one of LLVM's passes
    for old, new in (names or {}).items():
        module.get_function(old).name = new
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(target, options)
    simplify, passes = builder.getFunctionPassManager(), llvm.create_new_module_pass_manager()
    for function in module.functions:
        if not function.is_declaration:
            simplify.run(function, builder)
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, builder)
    return bytes(target.emit_object(module))


class Library:
    """Machine code in memory. Keep it as long as its functions may be called."""

    def __init__(self, objects: list[bytes]) -> None:
        import llvmlite.binding as llvm

        # The engine owns its target machine and disposes of it, so it gets one of its own.
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine.__wrapped__())
        for code in objects:
            self.engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self.engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function is."""
        return int(self.engine.get_function_address(name))
