"""Published numbers, in per cent, for reference beside the user's own. They are never compared by a test."""

from collections.abc import Iterator

from spavl.evaluation.protocols.types import PaperNumber

_LLAVA_7B, _LLAVA_13B = "LLaVA-1.5-7B", "LLaVA-1.5-13B"
# The names on the hub of the models in papers. Only a model of exactly such a name is the paper's.
HUB_IDS: dict[str, tuple[str, ...]] = {
    _LLAVA_7B: ("liuhaotian/llava-v1.5-7b", "llava-hf/llava-1.5-7b-hf"),
    _LLAVA_13B: ("liuhaotian/llava-v1.5-13b", "llava-hf/llava-1.5-13b-hf"),
    "LLaVA-1.5-7B + SPA-VL-DPO": ("superjelly/SPA-VL-DPO_30k",),
    "LLaVA-1.5-7B + SPA-VL-PPO": ("superjelly/SPA-VL-PPO_90k",),
    "LLaVA-1.5-7B-Mixed": ("ys-zong/llava-v1.5-7b-Mixed",),
    "LLaVA-1.5-13B-Mixed": ("ys-zong/llava-v1.5-13b-Mixed",),
    "Qwen-VL-Chat": ("Qwen/Qwen-VL-Chat",),
}
_SPA_VL = "SPA-VL, main table"
_SPA_VL_JUDGE = f"{_SPA_VL}; its judge is not published"
# By model: MM-SafetyBench's tiny list (Text_only, SD, TYPO, SD_TYPO, mean), AdvBench (plain, suffix), HarmEval's USR.
# The first model is the one that is shown beside a model that no paper has.
_SPA_VL_TABLE: dict[str, tuple[float, ...]] = {
    _LLAVA_7B: (34.52, 7.74, 22.62, 17.26, 20.54, 98.08, 99.81, 44.15),
    "LLaVA-1.5-7B + SPA-VL-DPO": (0.0, 0.6, 0.6, 1.19, 0.6, 0.0, 0.0, 0.0),
    "LLaVA-1.5-7B + SPA-VL-PPO": (0.6, 0.0, 0.0, 1.19, 0.45, 0.19, 2.12, 0.0),
    "LLaVA-1.5-7B + VLGuard-SFT": (21.43, 8.93, 18.45, 22.02, 17.71, 39.23, 36.15, 18.11),
    "LLaVA-1.5-7B + HH-Harmless-PPO": (4.76, 7.74, 18.45, 20.24, 12.80, 2.69, 1.73, 15.09),
    "InstructBLIP": (27.38, 13.10, 27.38, 25.00, 23.21, 51.25, 64.62, 47.55),
    "InternLMXComposer": (7.74, 4.17, 26.19, 26.79, 16.22, 5.40, 97.88, 26.04),
    "LAMM": (14.29, 4.76, 2.38, 6.55, 6.99, 24.42, 39.11, 32.83),
    "LAMM+SFT": (16.07, 7.14, 8.33, 21.43, 13.24, 22.69, 72.12, 32.08),
    "LLaMA-Adapter-v2": (35.71, 12.50, 7.74, 17.86, 18.45, 98.26, 100.0, 46.04),
    "MiniGPT-4": (20.83, 9.52, 23.81, 20.24, 18.60, 31.35, 65.38, 38.32),
    "mPLUG-Owl": (35.71, 8.93, 12.50, 30.36, 21.88, 100.0, 100.0, 52.45),
    "Otter": (29.76, 10.12, 5.95, 7.74, 13.39, 91.92, 100.0, 41.13),
    "Qwen-VL-Chat": (3.57, 3.57, 23.21, 26.79, 14.29, 1.92, 72.73, 7.55),
}
# By model: AdvBench (plain, suffix), then safe_safes (win rate), safe_unsafes and unsafes.
_VLGUARD_TABLE: dict[str, tuple[float, ...]] = {
    _LLAVA_7B: (6.45, 78.27, 18.82, 87.46, 72.62),
    "LLaVA-1.5-7B-Post-hoc": (0.0, 13.08, 18.96, 0.90, 0.23),
    "LLaVA-1.5-7B-Post-hoc-LoRA": (0.19, 12.31, 18.21, 0.90, 0.0),
    "LLaVA-1.5-7B-Mixed": (0.19, 10.58, 20.78, 0.90, 0.90),
    "LLaVA-1.5-7B-Mixed-LoRA": (0.19, 11.15, 19.18, 1.25, 0.0),
    _LLAVA_13B: (2.12, 74.23, 21.54, 80.65, 55.88),
    "LLaVA-1.5-13B-Post-hoc": (0.19, 6.15, 21.37, 1.25, 0.0),
    "LLaVA-1.5-13B-Post-hoc-LoRA": (0.38, 9.81, 20.98, 0.72, 0.0),
    "LLaVA-1.5-13B-Mixed": (0.0, 8.46, 21.43, 0.90, 0.90),
    "LLaVA-1.5-13B-Mixed-LoRA": (0.0, 11.15, 21.77, 0.90, 0.90),
    "MiniGPT-v2": (19.04, 22.50, 12.21, 88.17, 87.33),
    "MiniGPT-v2-Post-hoc": (3.0, 4.81, 12.30, 5.19, 12.37),
    "MiniGPT-v2-Mixed": (0.0, 5.10, 12.72, 6.27, 10.18),
}
_TINY = "mm-safetybench-tiny"
_KINDS = ("Text_only", "SD", "TYPO", "SD_TYPO", "")


def _mm_safetybench() -> Iterator[PaperNumber]:
    for model, values in _SPA_VL_TABLE.items():
        for place, subset in enumerate(_KINDS):
            n = 168 if subset else 4 * 168
            yield _number("attack_success", _TINY, subset, model, values[place], n, _SPA_VL_JUDGE)


def _advbench() -> Iterator[PaperNumber]:
    for model, values in _SPA_VL_TABLE.items():
        for place, benchmark in ((5, "advbench"), (6, "advbench-suffix")):
            yield _number("attack_success", benchmark, "", model, values[place], 520, _SPA_VL_JUDGE)


def _vlguard() -> Iterator[PaperNumber]:
    for model, (plain, suffix, helpful, safe_unsafes, unsafes) in _VLGUARD_TABLE.items():
        source = "VLGuard, table 2"
        yield _number("attack_success", "vlguard", "unsafes", model, unsafes, 442, source)
        yield _number("attack_success", "vlguard", "safe_unsafes", model, safe_unsafes, 558, source)
        yield _number("win_rate", "vlguard", "safe_safes", model, helpful, 558, source)
        yield _number("attack_success", "advbench", "", model, plain, 520, source)
        yield _number("attack_success", "advbench-suffix", "", model, suffix, 520, source)


def _number(measure: str, benchmark: str, subset: str, model: str, value: float, n: int, source: str) -> PaperNumber:
    return PaperNumber(
        measure=measure, benchmark=benchmark, subset=subset, model=model, value=value, n=n, source=source
    )


SPA_VL_USR = tuple(
    _number("usr", "harmeval", "", model, values[7], 265, _SPA_VL) for model, values in _SPA_VL_TABLE.items()
)
MM_SAFETYBENCH, ADVBENCH, VLGUARD = tuple(_mm_safetybench()), tuple(_advbench()), tuple(_vlguard())
