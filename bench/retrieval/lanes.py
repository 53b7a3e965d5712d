"""Computes batches side by side, each on its own share of the cores.

Two cores that share one matrix product wait for each other after every operation, and idle while Python starts the
next one. Two cores with a batch each do not. On two cores encoding takes an eighth less time (`docs/performance.md`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
R = TypeVar("R")
_KNOWN = frozenset({"torch", "transformers", "sentence_transformers", "peft", "bench"})
"""Packages whose modules keep nothing between two calls that a call at the same time could disturb."""
_END = object()


def lanes(model: nn.Module, device: str, *users: object) -> int:
    """Return how many batches may go through a model at the same time: one a core.

    It is 1 on other devices than a processor, and for modules, hooks, forward passes or users from elsewhere, which may
    remember something of a batch. It is 1 while a torch mode watches this thread, too: it would miss the others.

    Args:
        model: the encoding model.
        device: where it computes.
        users: objects whose methods work on its output.
    """
    import torch

    if device != "cpu" or not isinstance(model, torch.nn.Module) or _is_observed():
        return 1
    is_known = all(map(_is_known, model.modules())) and all(_package(type(user)) in _KNOWN for user in users)
    return torch.get_num_threads() if is_known else 1


def side_by_side(items: Iterable[T], work: Callable[[T], R], n: int) -> Iterator[R]:
    """Yield the results of `work` for every item, in the order of the items.

    Args:
        items: drawn by one lane at a time, when it is free.
        work: called in a thread that has its share of the cores, and the caller's gradient and inference mode.
        n: the number of lanes. With 1, everything happens in the calling thread.

    Raises:
        BaseException: what `items` or `work` raised first; the other lanes end after the item that they are at.
    """
    import torch

    if n <= 1:
        yield from map(work, items)
        return
    cores, source = torch.get_num_threads(), iter(items)
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    drawing, stopped, places = threading.Lock(), threading.Event(), count()
    done: queue.Queue[tuple[int, Any, BaseException | None]] = queue.Queue()

    def lane() -> None:
        torch.set_num_threads(max(1, cores // n))
        try:
            with torch.inference_mode() if inference else nullcontext(), torch.set_grad_enabled(gradients):
                while not stopped.is_set():
                    with drawing:
                        item, place = next(source, _END), next(places)
                    if item is _END:
                        break
                    done.put((place, work(item), None))  # type: ignore[arg-type]
        except BaseException as error:  # raised again in the calling thread
            stopped.set()
            done.put((-1, _END, error))
        else:
            done.put((-1, _END, None))

    threads = [threading.Thread(target=lane, name=f"lane {number}", daemon=True) for number in range(n)]
    for thread in threads:
        thread.start()
    open_lanes, finished, following = n, dict[int, R](), 0
    try:
        while open_lanes:
            place, result, error = done.get()
            if error is not None:
                raise error
            if result is _END:
                open_lanes -= 1
                continue
            finished[place] = result
            while following in finished:
                yield finished.pop(following)
                following += 1
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        torch.set_num_threads(cores)  # threads that start later begin with the number that was set last


def _is_known(module: nn.Module) -> bool:
    """Whether the code of a module and of what hooks into it belongs to packages that are known."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    own = [vars(module)["forward"]] if "forward" in vars(module) else []
    return all(_package(each) in _KNOWN for each in (type(module), *map(_kind, (*hooks, *own))))


def _kind(function: Any) -> Any:
    """Return the function or class whose code runs when this is called."""
    function = getattr(function, "func", function)
    return function if hasattr(function, "__qualname__") else type(function)


def _package(kind: Any) -> str:
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def _is_observed() -> bool:
    from torch.overrides import _get_current_function_mode
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    return _get_current_function_mode() is not None or _get_current_dispatch_mode() is not None
