"""What a strategy's code must leave as it finds it in its process: functions, settings, hooks, threads.

The harness measures in the process in which a strategy runs. Whoever replaces a clock, an optimiser's step or a
function of the harness there changes what is measured. `ProcessState.take` remembers them before the strategy's file
is imported, and `changes` compares.

It finds what Python shows. Native code can still change memory unseen: this is no protection against an attacker.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, Self

_PACKAGES = ("bench", "torch.optim", "torch.nn", "torch.autograd", "torch.amp", "torch.utils.data", "safetensors",
             "sentence_transformers", "tokenizers", "numpy.random")  # fmt: skip
"""Every module of these that is loaded is compared."""
_MODULES = (
    "time", "os", "random", "json", "pickle", "math", "statistics", "threading", "resource", "psutil", "hashlib",
    "numpy", "torch", "torch.random", "torch.serialization", "torch._tensor", "torch.cuda", "torch.cuda.random",
    "transformers.trainer", "transformers.tokenization_utils_base", "transformers.tokenization_utils_fast",
    "transformers.modeling_utils", "transformers.optimization", "accelerate.accelerator", "accelerate.optimizer",
)  # fmt: skip
"""These are compared too, where they are loaded."""
_VARIABLES = ("OMP_", "MKL_", "OPENBLAS_", "BENCH_", "ADAPTBENCH_", "HF_", "CUDA_", "PYTORCH_", "PYTHON")
"""Beginnings of the environment variables that are compared."""
_N_THREADS, _DTYPE = "torch's number of threads", "torch's default dtype"
_PRECISION, _MODES = "torch's precision of matrix products", "torch's function modes"
_HELPERS = ("tqdm.",)
"""Modules whose threads may stay: they look after a progress bar."""
_PLAIN = (bool, int, float, str, bytes, tuple, frozenset)
_NAMED = 3

Code = tuple[Any, ...]
"""What a function does: its code and its defaults."""


class _Place(NamedTuple):
    """One name of a module or class, and what it stood for."""

    owner: Any
    name: str
    value: Any
    code: Code | None

    @property
    def title(self) -> str:
        return f"{_name(self.owner)}.{self.name}"

    @property
    def is_changed(self) -> bool:
        found = vars(self.owner).get(self.name, _GONE)
        if found is self.value:
            return _code(found) != self.code
        return not _is_wrapped_by_torch(found, self.value)

    def restore(self) -> None:
        setattr(self.owner, self.name, self.value)
        function = _function(self.value)
        if function is not None and self.code is not None:
            function.__code__, function.__defaults__, function.__kwdefaults__ = self.code


_GONE = object()


def _is_wrapped_by_torch(found: Any, before: Any) -> bool:
    """Whether torch itself has wrapped a function, as it does with some when its compiler is imported."""
    if not isinstance(found, FunctionType) or getattr(found, "__wrapped__", None) is not before:
        return False
    return Path(found.__code__.co_filename).is_relative_to(Path(sys.modules["torch"].__file__ or "").parent)


@dataclass(frozen=True)
class ProcessState:
    """What this process was like when it was taken."""

    _places: tuple[_Place, ...]
    _members: dict[type, frozenset[str]]
    """The names in each class's own namespace."""
    _settings: dict[str, Any]
    _hooks: dict[str, tuple[Any, ...]]
    _threads: frozenset[int]

    @classmethod
    def take(cls) -> Self:
        """Return the state of this process. Call it before the first line of a strategy's file runs."""
        with _without_collection():
            return cls._take()

    @classmethod
    def _take(cls) -> Self:
        import torch

        from bench.training import observer

        observer.watch_backward()
        _prepare_optimisers(torch)
        modules = [module for name, module in sorted(sys.modules.items()) if _is_watched(name, module)]
        classes = {
            value: None
            for module in modules
            for value in list(vars(module).values())
            if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "__dict__")
        }
        owners = (*modules, *classes)
        places = tuple(
            _Place(owner, name, value, _code(value))
            for owner in owners
            for name, value in list(vars(owner).items())
            if _is_compared(owner, name, value)
        )
        members = {each: frozenset(vars(each)) for each in classes}
        return cls(places, members, _settings(), _hooks(), frozenset(sys._current_frames()))

    def changes(self) -> list[str]:
        """Return what has changed since, in words: replaced functions, settings, hooks."""
        found = [f"{place.title} was replaced" for place in self._places if place.is_changed]
        found += [f"{_name(each)}.{name} was added" for each, name in self._added()]
        settings = _settings()
        found += [
            f"{name} is {settings.get(name)!r}, was {before!r}"
            for name, before in self._settings.items()
            if settings.get(name) != before
        ]
        found += [f"{name} is set" for name in settings.keys() - self._settings.keys()]
        hooks = _hooks()
        found += [f"torch has other {name}" for name, before in self._hooks.items() if hooks[name] != before]
        return found

    def threads(self) -> list[str]:
        """Return the names of the threads that have begun since and still run."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        own = {thread.ident for thread in threading.enumerate() if type(thread).__module__.startswith(_HELPERS)}
        frames = sys._current_frames()
        return [
            f"{names.get(thread, 'a thread')} in {frame.f_code.co_filename.rpartition('/')[2]}"
            for thread, frame in frames.items()
            if thread not in self._threads | own and thread != threading.get_ident()
        ]

    def restore(self) -> None:
        """Put back functions, hooks and settings, so that one strategy does not spoil the process for the next one."""
        for place in self._places:
            if place.is_changed:
                place.restore()
        for each, name in self._added():
            delattr(each, name)
        _restore_settings(self._settings)
        for name, before in self._hooks.items():
            current = _hook_table(name)
            for key in [key for key, hook in current.items() if not any(hook is known for known in before)]:
                del current[key]

    def _added(self) -> list[tuple[type, str]]:
        """Return the methods that classes have now, did not define before, and that hide inherited ones."""
        return [
            (each, name)
            for each, before in self._members.items()
            for name, value in list(vars(each).items())
            if name not in before and (callable(value) or _function(value)) and _is_inherited(each, name)
        ]


def _is_inherited(kind: type, name: str) -> bool:
    return not name.startswith("__") and any(name in vars(base) for base in kind.__mro__[1:])


@contextmanager
def unspoiled() -> Iterator[None]:
    """Put functions, hooks and settings back after a block, whatever a strategy's code has done to them in it."""
    before = ProcessState.take()
    try:
        yield
    finally:
        before.restore()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector from walking the heap of a process with many modules, which takes most of a second."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def described(changes: list[str]) -> str:
    """Return the first few of a list in words."""
    more = f" and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
    return "; ".join(changes[:_NAMED]) + more


def _is_watched(name: str, module: ModuleType | None) -> bool:
    if module is None or not hasattr(module, "__dict__"):
        return False
    return name in _MODULES or any(name == each or name.startswith(f"{each}.") for each in _PACKAGES)


def _is_compared(owner: Any, name: str, value: Any) -> bool:
    """Whether a name is compared: functions, classes and modules, and the constants of the harness."""
    if name.startswith("__") and name not in ("__call__", "__init__", "__enter__", "__exit__", "__getattr__"):
        return False
    if isinstance(owner, ModuleType) and owner.__name__.partition(".")[0] == "bench" and name.isupper():
        return isinstance(value, _PLAIN)
    if isinstance(value, ModuleType):  # a package gains its modules as they are imported, and loses none
        return True
    return callable(value) or _function(value) is not None


def _function(value: Any) -> FunctionType | None:
    """Return the Python function behind a name; None where there is none."""
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value) if isinstance(value, staticmethod | classmethod) else value
    return value if isinstance(value, FunctionType) else None


def _code(value: Any) -> Code | None:
    function = _function(value)
    return None if function is None else (function.__code__, function.__defaults__, function.__kwdefaults__)


def _name(owner: Any) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def _prepare_optimisers(torch: Any) -> None:
    """Wrap the step of torch's optimisers for hooks, which torch itself does at the first use of each class."""
    base = torch.optim.Optimizer
    kinds: list[Any] = [
        each for each in vars(torch.optim).values() if isinstance(each, type) and issubclass(each, base)
    ]
    for kind in kinds:
        if "step" in vars(kind) and not getattr(kind.step, "hooked", None):
            kind.step = base.profile_hook_step(kind.step)
            kind.step.hooked = True


_HOOKS = {
    "optimiser hooks before a step": ("torch.optim.optimizer", "_global_optimizer_pre_hooks"),
    "optimiser hooks after a step": ("torch.optim.optimizer", "_global_optimizer_post_hooks"),
    "forward hooks": ("torch.nn.modules.module", "_global_forward_hooks"),
    "hooks before the forward pass": ("torch.nn.modules.module", "_global_forward_pre_hooks"),
    "backward hooks": ("torch.nn.modules.module", "_global_backward_hooks"),
    "hooks before the backward pass": ("torch.nn.modules.module", "_global_backward_pre_hooks"),
}
"""Hooks of the whole process: what they are, and where torch keeps them."""


def _hook_table(name: str) -> dict[Any, Any]:
    module, attribute = _HOOKS[name]
    table: dict[Any, Any] = getattr(sys.modules[module], attribute)
    return table


def _hooks() -> dict[str, tuple[Any, ...]]:
    return {name: tuple(_hook_table(name).values()) for name in _HOOKS}


def _settings() -> dict[str, Any]:
    """Return settings of the process that change what is computed, or how fast."""
    return dict(_torch_settings()) | dict(_environment())


def _restore_settings(before: dict[str, Any]) -> None:
    import torch

    for name in [f"${name}" for name in os.environ if name.startswith(_VARIABLES)]:
        if name not in before:
            del os.environ[name[1:]]
    os.environ.update({name[1:]: value for name, value in before.items() if name.startswith("$")})
    if torch.get_num_threads() != before[_N_THREADS]:
        torch.set_num_threads(before[_N_THREADS])
    torch.set_float32_matmul_precision(before[_PRECISION])
    torch.set_default_dtype(before[_DTYPE])
    while torch._C._len_torch_function_stack() > before[_MODES]:
        torch._C._pop_torch_function_stack()


def _environment() -> Iterator[tuple[str, Any]]:
    yield from ((f"${name}", value) for name, value in os.environ.items() if name.startswith(_VARIABLES))
    yield "the working folder", str(Path.cwd())
    if hasattr(os, "sched_getaffinity"):
        yield "the processors of the process", sorted(os.sched_getaffinity(0))


def _torch_settings() -> Iterator[tuple[str, Any]]:
    import torch

    yield _N_THREADS, torch.get_num_threads()
    yield _DTYPE, torch.get_default_dtype()
    yield _PRECISION, torch.get_float32_matmul_precision()
    yield "torch's gradients", torch.is_grad_enabled()
    yield "torch's inference mode", torch.is_inference_mode_enabled()
    yield "torch's deterministic algorithms", torch.are_deterministic_algorithms_enabled()
    for device in ("cpu", "cuda"):
        yield f"torch's autocast on {device}", torch.is_autocast_enabled(device)
        yield f"torch's autocast type on {device}", torch.get_autocast_dtype(device)
    yield _MODES, torch._C._len_torch_function_stack()
    yield "torch's dispatch modes", torch._C._len_torch_dispatch_stack()
    yield "torch's use of oneDNN", torch.backends.mkldnn.enabled
    yield "torch's TF32 in matrix products", torch.backends.cuda.matmul.allow_tf32
