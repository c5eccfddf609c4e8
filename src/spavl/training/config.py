from typing import Literal

from pydantic import Field

from spavl.config import Settings
from spavl.errors import ConfigError
from spavl.judges.registry import GuardName
from spavl.models.uri import ModelName
from spavl.records import CurvePoint
from spavl.stages.spec import StageSpec
from spavl.training.loop.schedule import LoopConfig
from spavl.training.rewarder_uri import RewarderName

SPEC = StageSpec(
    "training",
    reads=("dataset",),
    writes=CurvePoint,
    does="aligns a model on the pairs",
    outside=True,
    files=("model", "ppo.reward"),
    version=6,
)


class TrainableConfig(Settings):
    vision: Literal["frozen", "full"] | int = Field(
        "frozen", description="the vision tower: frozen, full, or how many of the last blocks that are read are trained"
    )
    projector: bool = Field(True, description="whether what lies between tower and language model is trained")
    language: Literal["full", "lora", "qlora", "frozen"] = Field(
        "full", description="the language model: full, lora, qlora (LoRA on weights of four bits) or frozen"
    )
    lora_rank: int = Field(64, ge=1, description="rank of the LoRA matrices")
    lora_alpha: int = Field(128, ge=1, description="scale of the LoRA matrices is alpha / rank")
    vision_learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate of the vision tower, if its own"
    )
    projector_learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate of the projector, if its own"
    )

    @property
    def has_lora(self) -> bool:
        return self.language in ("lora", "qlora")


class PairWeightsConfig(Settings):
    """A pair teaches safety, helpfulness, or both at once; what it teaches may be wanted more or less."""

    safety: float = Field(1.0, ge=0, description="weight of pairs whose answers differ in safety; 0 leaves them out")
    helpfulness: float = Field(1.0, ge=0, description="weight of pairs whose answers differ in helpfulness")
    both: float = Field(1.0, ge=0, description="weight of pairs whose answers differ in both")
    unknown: float = Field(1.0, ge=0, description="weight of pairs whose data set does not say")


class DPOConfig(Settings):
    beta: float = Field(0.1, gt=0, description="how dear it is to move away from the reference")
    loss_type: Literal["sigmoid", "hinge", "ipo"] = Field(
        "sigmoid", description="what is asked of the margin: sigmoid (DPO itself), hinge or ipo"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of pairs taken to be labelled the wrong way round"
    )
    length_normalize: bool = Field(
        False,
        description="score an answer by its mean log-probability a token, not by the sum; IPO's authors did so",
    )
    mdpo_weight: float = Field(
        0.0,
        ge=0,
        description="weight of asking that a chosen answer gain by its image, against answering without looking; "
        "each pair then has a third answer to score, under a blank image that all share; 0: none",
    )
    weights: PairWeightsConfig = Field(PairWeightsConfig(), description="how much a pair counts, by what it teaches")
    sft_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the chosen answers' own likelihood, against drifting into garble; 0: plain DPO",
    )


class ValidationConfig(Settings):
    guard: GuardName = Field(
        "",
        description="who judges the model's answers to validation questions while it is trained, so that the best "
        "weights are kept and not the last; empty: nobody",
    )
    every: int = Field(
        100, ge=1, description="steps between looks; there is also one before the first and one after the last"
    )
    questions: int = Field(
        64, ge=1, description="questions that are asked at each look, half of them harmless where that is known"
    )
    max_tokens: int = Field(128, ge=1, description="longest answer")
    pairs: int = Field(
        64, ge=0, description="validation pairs whose loss is taken at each look, and how many are in order (not ppo)"
    )
    patience: int = Field(
        0,
        ge=0,
        description="stop after so many looks without a better one, and keep the best weights: by the guard, or by "
        "the loss on validation pairs where there is none; 0: go on to the end",
    )


class RewardLoopConfig(LoopConfig):
    """As the paper's, so that one setting of it can be changed and the others stay."""

    learning_rate: float = Field(3e-5, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("constant", description="how it falls after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description="the same as a share of all steps; the longer one counts")


class RewardConfig(Settings):
    """How a reward model is learnt, before PPO or by itself."""

    epochs: int = Field(1, ge=1, description="times the pairs are gone through")
    batch_size: int = Field(32, ge=1, description="pairs behind each step of the weights, on average")
    margin: float = Field(
        0.0, ge=0, description="lead that is asked for each grade of harm between two answers, where they were graded"
    )
    loop: RewardLoopConfig = Field(RewardLoopConfig(), description="the loop's settings for the reward model")


class PPOConfig(Settings):
    reward: RewarderName = Field(
        "",
        description="who rewards: empty for a reward model trained first, reward/FOLDER for one trained before, "
        "judge/NAME for a judge who compares with the chosen answer, or a guard's name",
    )
    sampler: ModelName = Field(
        "",
        description="who draws the answers: empty for this process, or openai/NAME@URL for a server that has the "
        "model: vLLM for LoRA alone, or one that loads the folder it is asked for, as transformers serve does",
    )
    publish_every: int = Field(
        1, ge=0, description="draws after which the server is given the policy anew; 0: never, it keeps what it has"
    )
    advantage: Literal["gae", "group"] = Field(
        "gae", description="what an answer is held against: gae, a learnt value of each token; group, its siblings"
    )
    questions_per_step: int = Field(8, ge=1, description="questions answered before each step, on average")
    answers_per_question: int = Field(4, ge=1, description="answers drawn to each question")
    max_tokens: int = Field(512, ge=1, description="longest answer drawn")
    updates: int = Field(1, ge=1, description="steps of the weights on the same answers")
    clip_range: float = Field(0.2, gt=0, lt=1, description="how far a token's odds may move in one step")
    value_clip_range: float = Field(0.2, gt=0, description="how far a value may move in one step")
    value_loss_weight: float = Field(0.1, ge=0, description="weight of the values' error in the loss")
    gamma: float = Field(1.0, gt=0, le=1, description="what a reward one token later is worth")
    gae_lambda: float = Field(
        1.0, ge=0, le=1, description="lambda of the advantage's estimate: 1 trusts rewards, 0 values"
    )
    kl_coef: float = Field(0.1, ge=0, description="price of leaving the reference, per nat")
    kl_target: float | None = Field(
        None, gt=0, description="nats per answer that the price is adapted to keep; empty: the price is fixed"
    )
    kl_horizon: int = Field(10_000, ge=1, description="answers over which the price is adapted")
    whiten: Literal["nothing", "rewards", "advantages"] = Field(
        "nothing", description="what is brought to a spread of one over the tokens of a step, with gae"
    )
    scale_groups: bool = Field(True, description="bring each group's rewards to a spread of one (group advantage)")
    sft_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the chosen answers' own likelihood beside the rewards, for answers that the model would "
        "hardly ever draw by itself, and against drifting into garble; 0: plain PPO",
    )
    missing_eos_penalty: float = Field(0.0, ge=0, description="taken off the reward of an answer that was cut off")


class TrainingConfig(Settings):
    model: ModelName = Field(
        "miniature/base", description="the model to align: a folder, a run, a hub's OWNER/NAME or miniature/base"
    )
    algorithm: Literal["dpo", "sft", "reward", "ppo"] = Field(
        "dpo",
        description="how it is aligned: dpo, sft on the chosen answers, or ppo; reward makes a reward model of it",
    )
    max_invalid_fraction: float = Field(
        0.05, ge=0, le=1, description="share of samples that may be unfit for this model; with more it is not begun"
    )
    epochs: int = Field(1, ge=1, description="times the data set is gone through")
    batch_size: int = Field(8, ge=1, description="pairs behind each step of the weights, on average")
    batch_by: Literal["images", "pairs"] = Field(
        "images",
        description="what a step is made of: images with all their pairs, which share the image's pass; or pairs drawn "
        "one by one, whose gradient is less noisy and whose steps take longer",
    )
    max_tokens_per_microbatch: int = Field(
        8192,
        ge=1,
        description="the most tokens that go through the model at once: a step is cut into passes, as few and as even "
        "as can be; it changes memory and time alone",
    )
    share_prefixes: bool = Field(
        True, description="compute an image and a question once for all their answers, exactly"
    )
    trainable: TrainableConfig = Field(TrainableConfig(), description="what of the model is trained")
    dpo: DPOConfig = Field(DPOConfig(), description="DPO's own settings")
    validation: ValidationConfig = Field(ValidationConfig(), description="what is looked at while it is trained")
    reward: RewardConfig = Field(RewardConfig(), description="the reward model's own settings")
    ppo: PPOConfig = Field(PPOConfig(), description="PPO's own settings")
    loop: LoopConfig = Field(LoopConfig(), description="the loop's settings")

    @property
    def drawn_at_most(self) -> int:
        """How many tokens the model may add to a question by itself while it is trained."""
        return self.ppo.max_tokens if self.algorithm == "ppo" else 0

    def for_reward_model(self) -> "TrainingConfig":
        """The same with the reward model's own settings in their place."""
        own = self.reward
        # It answers nothing. Before PPO it goes on to its end, for patience is with the policy.
        patience = self.validation.patience if self.algorithm == "reward" else 0
        watch = self.validation.model_copy(update={"guard": "", "patience": patience})
        laid_over = {"algorithm": "reward", "epochs": own.epochs, "batch_size": own.batch_size, "loop": own.loop}
        return self.model_copy(update={**laid_over, "validation": watch})


def check_ppo(config: TrainingConfig) -> None:
    """Refuse settings of PPO that do not go together."""
    settings = config.ppo
    if settings.advantage == "group" and settings.answers_per_question < 2:
        then = "raise training.ppo.answers_per_question"
        raise ConfigError("an answer alone has no siblings", where="training.ppo.advantage", then=then)
    beside = config.trainable.has_lora and (config.trainable.projector or config.trainable.vision != "frozen")
    if settings.sampler and settings.publish_every and beside:
        what, then = "servers take LoRA alone, and what else is trained would be lost", "freeze projector and tower"
        raise ConfigError(what, where="training.ppo.sampler, training.trainable", then=then)
    if config.loop.shard:
        then = "set training.loop.shard = false; where a policy is too large to be held whole by each process with its "
        then += "gradients and its beginning, train LoRA (--preset spa-vl-ppo-lora); ppo.sampler has a server draw"
        raise ConfigError("a policy whose weights are spread cannot answer", where="training.loop.shard", then=then)
