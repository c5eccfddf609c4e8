"""Two models' logs of one benchmark as a task: a judge compares their answers item by item, in both orders."""

from concurrent.futures import ThreadPoolExecutor

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalSample, read_eval_log
from inspect_ai.model import ContentImage, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from spavl.errors import ConfigError
from spavl.evaluation.inspect_ai.grader import InspectChatModel
from spavl.evaluation.inspect_ai.metadata import SampleMetadata
from spavl.evaluation.inspect_ai.scorers import one_against_another

_THEN = "name two logs of `inspect eval spavl/...`, of one benchmark: -T log_a=FILE.eval -T log_b=FILE.eval"


def pairwise_of(log_a: str, log_b: str, judge: str, canaries: str) -> Task:
    """The metrics are of the first log's model. No model is tested, so Inspect's own model, `--model`, is the judge."""
    ones, others = _samples_to_compare(log_a), _samples_to_compare(log_b)
    both = [_sample(each, others[name]) for name, each in ones.items() if name in others]
    if not both:
        raise ConfigError("these logs have no item in common", where=f"{log_a}, {log_b}", then=_THEN)
    return Task(
        dataset=MemoryDataset(both, name="pairwise"),
        solver=_said_already(),
        scorer=one_against_another(judge, InspectChatModel(get_model), canaries, any(map(_images_of, ones.values()))),
    )


def _samples_to_compare(log: str) -> dict[object, EvalSample]:
    """Those of a log's items whose answers are compared, by id; of several samples the first.

    An item that ended in an error has no answer. It is kept, and its comparison is unknown.
    """
    if not log:
        raise ConfigError("it is not said which logs are compared", where="-T log_a, -T log_b", then=_THEN)
    try:
        # In a thread: Inspect makes tasks in its event loop, where reading a log patches asyncio for the whole process.
        with ThreadPoolExecutor(1) as elsewhere:
            read = elsewhere.submit(read_eval_log, log, resolve_attachments=True).result()
    except (OSError, ValueError) as error:
        raise ConfigError(f"this log cannot be read: {error}", where=log, then=_THEN) from None
    own = [sample for sample in read.samples or [] if _is_compared(sample)]
    if not own:
        raise ConfigError("this log has no answers that are compared", where=log, then=_THEN)
    if any(map(_lost_its_image, own)):
        raise ConfigError("the images were left out of this log", where=log, then="evaluate without --no-log-images")
    return {sample.id: sample for sample in own if sample.epoch == 1}


def _sample(one: EvalSample, other: EvalSample) -> Sample:
    answers = [None if each.error else each.output.completion for each in (one, other)]
    metadata = SampleMetadata.read(one.metadata)._replace(answers=answers)
    return Sample(id=one.id, input=one.input, metadata=metadata.as_dict())


def _is_compared(sample: EvalSample) -> bool:
    """Whether a sample's answer is compared. Samples of benchmarks that are not spavl's have other metadata."""
    return "scored_by" in sample.metadata and "pairwise" in SampleMetadata.read(sample.metadata).scored_by


def _lost_its_image(sample: EvalSample) -> bool:
    return any(not image.startswith("data:") for image in _images_of(sample))


def _images_of(sample: EvalSample) -> list[str]:
    parts = [] if isinstance(sample.input, str) else [part for each in sample.input for part in each.content]
    return [part.image for part in parts if isinstance(part, ContentImage)]


@solver
def _said_already() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return state

    return solve
