"""Whether float32 is float32: an environment can have its products rounded to TF32 or bfloat16 without a word."""

import torch

from spavl.errors import ConfigError

_SIDE = 256
# Of products of so many terms: float32 errs by 3e-7 of their size, TF32 by 3e-4, bfloat16 by 2e-3.
_AT_MOST = 1e-5
_VARIABLES = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, NVIDIA_TF32_OVERRIDE and ONEDNN_DEFAULT_FPMATH_MODE"


def use_whole_float32() -> None:
    """Containers for GPUs are sold with TF32 switched on, and convolutions have it by default."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def check_float32(device: torch.device) -> None:
    """Refuse to call float32 what this device computes, if it is something else."""
    if (error := float32_error(device)) > _AT_MOST:
        raise ConfigError(
            f"a product of float32 matrices is wrong by {error:.1g} of its size on this device",
            where="training.loop.precision",
            then=f"unset {_VARIABLES}, or set training.loop.precision = 'bf16'",
        )


def float32_error(device: torch.device) -> float:
    """How far a product of float32 matrices is from that of the same numbers in float64."""
    rng = torch.Generator().manual_seed(0)
    one, other = (torch.randn(_SIDE, _SIDE, generator=rng) for _ in range(2))
    exact = one.double() @ other.double()
    found = (one.to(device) @ other.to(device)).double().cpu()
    return float((found - exact).norm() / exact.norm())
