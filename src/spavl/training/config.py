from typing import Annotated, Literal

from pydantic import Field

from spavl.config import Settings
from spavl.errors import ConfigError
from spavl.judges.registry import GuardName, guard_uri
from spavl.models.uri import REWARD, ModelName, checkpoint_of, of_settings
from spavl.records import CurvePoint
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "training",
    reads=("dataset",),
    writes=CurvePoint,
    does="aligns a model on the pairs",
    outside=True,
    files=("model", "ppo.reward"),
    version=6,
)


def rewarder_uri(name: str) -> str:
    """`reward/FOLDER`, `judge/NAME` or a guard; a run folder, also without `reward/`, names its reward model."""
    kind, _, rest = name.partition("/")
    if kind == "judge":
        return f"judge/{guard_uri(rest)}"
    if kind == REWARD:
        return f"{REWARD}/{checkpoint_of(rest, REWARD) or rest}"
    own = checkpoint_of(name, REWARD)
    return f"{REWARD}/{own}" if own else guard_uri(name)


RewarderName = Annotated[str, of_settings(rewarder_uri)]


class LoopConfig(Settings):
    learning_rate: float = Field(1e-6, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="learning rate schedule after the warm-up; cosine and linear decay to zero"
    )
    warmup_steps: int = Field(10, ge=0, description="linear warm-up, in optimizer steps")
    warmup_ratio: float = Field(
        0.0, ge=0, lt=1, description="linear warm-up as a fraction of all steps; the longer of the two is used"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient clipping: largest global norm")
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="compute precision (bf16: autocast); trained weights are always kept in float32"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: about a third more time, far less memory"
    )
    shard: bool = Field(False, description="shard the weights over the processes of accelerate launch (FSDP2)")
    tracker: Literal["", "tensorboard", "trackio", "wandb"] = Field(
        "", description="experiment tracker that also gets the metrics; its package must be installed"
    )
    save_every: int = Field(50, ge=1, description="optimizer steps between checkpoints")
    keep_last: int = Field(2, ge=1, description="number of checkpoints to keep")


class TrainableConfig(Settings):
    vision: Literal["frozen", "full"] | int = Field(
        "frozen",
        description="vision tower: frozen, full, or the number of final blocks to train, counted back from the layer "
        "whose output the model uses",
    )
    projector: bool = Field(True, description="train the projector between vision tower and language model")
    language: Literal["full", "lora", "qlora", "frozen"] = Field(
        "full", description="language model: full, lora, qlora (LoRA on 4-bit weights) or frozen"
    )
    lora_rank: int = Field(64, ge=1, description="LoRA rank r")
    lora_alpha: int = Field(128, ge=1, description="LoRA alpha; updates are scaled by alpha / r")
    vision_learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate of the vision tower; empty: loop.learning_rate"
    )
    projector_learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate of the projector; empty: loop.learning_rate"
    )

    @property
    def has_lora(self) -> bool:
        return self.language in ("lora", "qlora")


class PairWeightsConfig(Settings):
    """The loss weight of a pair, by what its answers differ in. A weight of 0 leaves the pairs out."""

    safety: float = Field(1.0, ge=0, description="loss weight of pairs whose answers differ in safety")
    helpfulness: float = Field(1.0, ge=0, description="loss weight of pairs whose answers differ in helpfulness")
    both: float = Field(1.0, ge=0, description="loss weight of pairs whose answers differ in both")
    unknown: float = Field(1.0, ge=0, description="loss weight of pairs without such a label")


class DPOConfig(Settings):
    beta: float = Field(0.1, gt=0, description="DPO beta: strength of the implicit KL penalty")
    loss_type: Literal["sigmoid", "hinge", "ipo"] = Field(
        "sigmoid", description="loss as a function of the reward margin: sigmoid (DPO), hinge (SLiC) or ipo"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="label smoothing (conservative DPO): assumed fraction of swapped labels"
    )
    length_normalize: bool = Field(
        False, description="divide an answer's log-probability by its number of tokens, as IPO's authors do"
    )
    mdpo_weight: float = Field(
        0.0,
        ge=0,
        description="weight of mDPO's conditional preference: the chosen answer with its image over the same answer "
        "with a blank one; scores a third answer for each pair; 0: off",
    )
    weights: PairWeightsConfig = Field(PairWeightsConfig(), description="loss weight of a pair, by its contrast")
    sft_weight: float = Field(
        0.0, ge=0, description="weight of an SFT loss on the chosen answers (as RPO's alpha); 0: off"
    )


class ValidationConfig(Settings):
    guard: GuardName = Field(
        "",
        description="guard that judges generated answers to validation questions; the best weights are then kept and "
        "not the last; empty: none",
    )
    every: int = Field(
        100, ge=1, description="optimizer steps between validations; also before the first step and after the last"
    )
    questions: int = Field(
        64, ge=1, description="questions generated for at each validation, half of them harmless where labelled"
    )
    max_tokens: int = Field(128, ge=1, le=1_000_000, description="largest number of new tokens of a generated answer")
    pairs: int = Field(64, ge=0, description="held-out pairs for validation loss and accuracy; not used by ppo")
    patience: int = Field(
        0,
        ge=0,
        description="early stopping: validations without improvement (in the guard's rates, else the validation loss) "
        "after which to stop and keep the best weights; 0: off",
    )


class RewardLoopConfig(LoopConfig):
    """The defaults of the SPA-VL paper, so that a file can change one of them and keep the others."""

    learning_rate: float = Field(3e-5, gt=0, description="peak learning rate of AdamW")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "constant", description="learning rate schedule after the warm-up; cosine and linear decay to zero"
    )
    warmup_steps: int = Field(0, ge=0, description="linear warm-up, in optimizer steps")
    warmup_ratio: float = Field(
        0.03, ge=0, lt=1, description="linear warm-up as a fraction of all steps; the longer of the two is used"
    )


class RewardConfig(Settings):
    """The settings of a reward model, trained by itself or before PPO."""

    epochs: int = Field(1, ge=1, le=10_000, description="training epochs of the reward model")
    batch_size: int = Field(32, ge=1, description="pairs per optimizer step (mean over the steps)")
    margin: float = Field(
        0.0,
        ge=0,
        description="margin in the Bradley-Terry loss for each grade of harm between the answers, as in Llama 2; "
        "needs a judge that graded harm; 0: off",
    )
    loop: RewardLoopConfig = Field(RewardLoopConfig(), description="training loop of the reward model")


class PPOConfig(Settings):
    reward: RewarderName = Field(
        "",
        description="source of rewards: empty to train a reward model first, reward/FOLDER for a saved one, judge/NAME "
        "for comparisons with the chosen answer, or the name of a guard",
    )
    sampler: ModelName = Field(
        "",
        description="where answers are sampled: empty for this process, or openai/NAME@URL for a server: vLLM with "
        "LoRA, or one that loads a folder by name, such as transformers serve",
    )
    publish_every: int = Field(
        1, ge=0, description="rollouts between pushes of the weights to the sampler; 0: never push"
    )
    advantage: Literal["gae", "group"] = Field(
        "gae", description="advantage estimator: gae (with a critic) or group (GRPO: relative to the same question)"
    )
    questions_per_step: int = Field(8, ge=1, description="questions per rollout (mean over the rollouts)")
    answers_per_question: int = Field(4, ge=1, le=1_000, description="sampled answers per question (GRPO's group size)")
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="largest number of new tokens of a sampled answer")
    updates: int = Field(1, ge=1, le=1_000, description="optimizer steps on each rollout (PPO epochs)")
    clip_range: float = Field(0.2, gt=0, lt=1, description="PPO clip range (epsilon) of the probability ratio")
    value_clip_range: float = Field(0.2, gt=0, description="clip range of the value function")
    value_loss_weight: float = Field(0.1, ge=0, description="value loss coefficient")
    gamma: float = Field(1.0, gt=0, le=1, description="discount factor per token")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="GAE lambda: 1 = Monte Carlo returns, 0 = one-step TD")
    kl_coef: float = Field(0.1, ge=0, description="KL penalty coefficient; the initial one if kl_target is set")
    kl_target: float | None = Field(
        None, gt=0, description="target KL of the adaptive controller, in nats per answer; empty: fixed coefficient"
    )
    kl_horizon: int = Field(10_000, ge=1, description="horizon of the adaptive KL controller, in answers")
    whiten: Literal["nothing", "rewards", "advantages"] = Field(
        "nothing", description="what is whitened over the tokens of a step (with gae)"
    )
    scale_groups: bool = Field(
        True, description="divide group advantages by the standard deviation of the group's rewards"
    )
    sft_weight: float = Field(
        0.0, ge=0, description="weight of an SFT loss on the chosen answers, beside the rewards; 0: off"
    )
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="subtracted from the reward of an answer that has no end token"
    )


class TrainingConfig(Settings):
    model: ModelName = Field(
        "miniature/base",
        description="the model to align: a folder, a run, a hub's OWNER/NAME, miniature/base or miniature/qwen",
    )
    algorithm: Literal["dpo", "sft", "reward", "ppo"] = Field(
        "dpo",
        description="training objective: dpo, sft (on the chosen answers), reward (a reward model) or ppo",
    )
    max_invalid_fraction: float = Field(
        0.05, ge=0, le=1, description="largest fraction of samples that may be unusable for this model; else it stops"
    )
    epochs: int = Field(1, ge=1, le=10_000, description="training epochs")
    batch_size: int = Field(8, ge=1, description="pairs per optimizer step (mean over the steps)")
    batch_by: Literal["images", "pairs"] = Field(
        "images",
        description="unit of shuffling: images (all pairs of an image in one step, which shares its pass) or pairs "
        "(less gradient noise, slower steps)",
    )
    max_tokens_per_microbatch: int = Field(
        8192,
        ge=1,
        description="largest number of tokens in a micro-batch; gradients are accumulated over those of a step. "
        "Changes memory and time only",
    )
    share_prefixes: bool = Field(
        True, description="compute an image and a question once for all their answers (prefix trees); exact"
    )
    trainable: TrainableConfig = Field(TrainableConfig(), description="which parameters are trained")
    dpo: DPOConfig = Field(DPOConfig(), description="DPO")
    validation: ValidationConfig = Field(ValidationConfig(), description="validation during the training")
    reward: RewardConfig = Field(RewardConfig(), description="reward model")
    ppo: PPOConfig = Field(PPOConfig(), description="PPO")
    loop: LoopConfig = Field(LoopConfig(), description="training loop")

    @property
    def max_sampled_tokens(self) -> int:
        """The largest number of tokens that the model itself adds to a question during training."""
        return self.ppo.max_tokens if self.algorithm == "ppo" else 0

    def in_turn(self) -> list["TrainingConfig"]:
        """The settings of each training in turn: PPO comes after a reward model, unless `ppo.reward` is set."""
        if self.algorithm == "reward":
            return [self.for_reward_model()]
        is_first_trained = self.algorithm == "ppo" and not self.ppo.reward
        return [self.for_reward_model(), self] if is_first_trained else [self]

    def for_reward_model(self) -> "TrainingConfig":
        """The same settings, with the reward model's own in place of the general ones."""
        own = self.reward
        # A reward model generates no answers. Before PPO, early stopping concerns the policy only.
        patience = self.validation.patience if self.algorithm == "reward" else 0
        validation = self.validation.model_copy(update={"guard": "", "patience": patience})
        changes = {"algorithm": "reward", "epochs": own.epochs, "batch_size": own.batch_size, "loop": own.loop}
        return self.model_copy(update={**changes, "validation": validation})


def check_ppo(config: TrainingConfig) -> None:
    """Refuse settings of PPO that exclude each other."""
    settings = config.ppo
    if settings.advantage == "group" and settings.answers_per_question < 2:
        what = "advantage = 'group' needs answers_per_question >= 2"
        raise ConfigError(what, where="training.ppo.advantage", then="raise training.ppo.answers_per_question")
    trains_more_than_lora = config.trainable.projector or config.trainable.vision != "frozen"
    if settings.sampler and settings.publish_every and config.trainable.has_lora and trains_more_than_lora:
        what = "servers accept LoRA weights only, and a trained projector or vision tower would be missing there"
        then = "freeze projector and vision tower"
        raise ConfigError(what, where="training.ppo.sampler, training.trainable", then=then)
    if config.loop.shard:
        then = "set training.loop.shard = false; if policy, gradients and reference do not fit into one process, "
        then += "train LoRA (--preset spa-vl-ppo-lora); ppo.sampler lets a server sample"
        raise ConfigError("PPO does not support sharded (FSDP) policies", where="training.loop.shard", then=then)
