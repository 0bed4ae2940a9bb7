"""Where and with what an audit ran."""

import platform
import subprocess
from typing import Any

import torch

from heatproof.arithmetic import neutralized


def describe(device: torch.device, dtype: torch.dtype, threads: int, batch: int) -> dict[str, Any]:
    """Versions, device, threads and batch: what the promise of equal bits depends on.

    And what of torch's global state was another one outside, where it had to decide nothing.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": f"{device.type}: {name}",
        "dtype": str(dtype).removeprefix("torch."),
        "threads": threads,
        "compute_batch": batch,
        "neutralized": neutralized(),
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    try:
        sha = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        state = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"sha": sha.stdout.strip(), "dirty": bool(state.stdout.strip())}
