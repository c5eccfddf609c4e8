"""What is told of the settings of arms: the main ones, and those by which they differ."""

from spavl.config import flat_settings
from spavl.studies.analysis.settings import NO_RESULT, settings_of
from spavl.studies.grid.arms import Arm
from spavl.training.config import DPOConfig, LoopConfig, PPOConfig, TrainingConfig
from tests.support.studies import an_arm


def arm_with(name: str, **training: object) -> Arm:
    return an_arm(name)._replace(training=TrainingConfig.model_validate(training))


def test_settings_on_which_no_result_depends_are_settings_of_the_training() -> None:
    known = {name.rpartition(".")[2] for name, _ in flat_settings(TrainingConfig().model_dump(mode="json"))}
    assert known >= NO_RESULT


def test_what_arms_share_is_told_once_and_what_differs_by_arm() -> None:
    arms = [arm_with(f"beta {beta}", dpo=DPOConfig(beta=beta, sft_weight=0.5)) for beta in (0.1, 0.3)]
    found = settings_of([an_arm("untrained", trained=False), *arms], [])
    assert found.common["training.algorithm"] == "dpo" and found.common["training.dpo.sft_weight"] == 0.5
    assert [(each.arm, each.settings) for each in found.arms] == [
        ("beta 0.1", {"training.dpo.beta": 0.1}),
        ("beta 0.3", {"training.dpo.beta": 0.3}),
    ]


def test_an_algorithm_has_its_own_settings_and_defaults_are_not_told() -> None:
    loop = LoopConfig(save_every=7, tracker="tensorboard", gradient_checkpointing=True)
    arms = [arm_with("dpo"), arm_with("ppo", algorithm="ppo", ppo=PPOConfig(kl_coef=0.3), loop=loop)]
    dpo, ppo = (each.settings for each in settings_of(arms, []).arms)
    assert dpo == {"training.algorithm": "dpo", "training.dpo.beta": 0.1}
    assert ppo == {"training.algorithm": "ppo", "training.ppo.reward": "", "training.ppo.kl_coef": 0.3}
    assert "training.dpo.beta" not in settings_of(arms, []).common


def test_the_rank_of_lora_is_told_of_arms_with_lora() -> None:
    arms = [arm_with("LoRA", trainable={"language": "lora", "lora_rank": 8}), arm_with("full")]
    lora, full = (each.settings for each in settings_of(arms, []).arms)
    assert lora["training.trainable.lora_rank"] == 8 and "training.trainable.lora_rank" not in full
