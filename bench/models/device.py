"""The names of devices: what they stand for, and whether this machine has them."""

from __future__ import annotations

import re

from bench.errors import BenchError, did_you_mean

DEVICES = ("auto", "cpu", "cuda", "mps")
"""`auto` is the fastest device of the machine; `cuda:1` is the second of several."""
_NUMBERED = re.compile(r"cuda:\d+\Z")


def check_name(device: str) -> None:
    """Refuse an unknown name.

    Raises:
        BenchError: it is not the name of a device.
    """
    if device not in DEVICES and not _NUMBERED.match(device):
        hint = did_you_mean(device, DEVICES) or "."
        raise BenchError(f"unknown device {device!r}{hint} Known: {', '.join(DEVICES)}, cuda:1.")


def resolved(device: str) -> str:
    """Return the device that a name stands for: `auto` is the fastest one of this machine."""
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def require(device: str) -> None:
    """Refuse a device that this machine does not have. This loads torch only for devices that may be missing.

    Raises:
        BenchError: the name is unknown, or the machine has no such device.
    """
    check_name(device)
    if device in ("auto", "cpu"):
        return
    import torch

    if device == "mps":
        if not torch.backends.mps.is_available():
            raise BenchError("device 'mps': this machine or this build of torch has none; use --device auto or cpu")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise BenchError(f"device {device!r}: torch finds no CUDA device here; use --device auto or cpu")
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        raise BenchError(f"device {device!r}: the last CUDA device is cuda:{count - 1}")
