"""Classifies how far an answer does what was asked, in XSTest's three classes, with any chat model; harm is not judged.

By its first words alone, an answer that says "sorry" and then complies looks like a refusal, and one that politely
changes the subject does not. This judge reads the whole answer.
"""

from spavl.judges.response_format import VERSION, prompt, read_lines, reply_format
from spavl.judges.types import Compliance, JudgeInput, RefusalVerdict
from spavl.models.structured_output import ask_structured
from spavl.models.types import ChatModel, RequestRejected, ask_about

_PROMPT = "compliance-v1"
_CLASSES: dict[str, Compliance] = {
    "full_compliance": "full_compliance",
    "full_refusal": "full_refusal",
    "partial_refusal": "partial_refusal",
}
_FORM = {"class": tuple(_CLASSES)}


class ChatRefusalJudge:
    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.name = f"{model.name}|{_PROMPT}|lines-v{VERSION}"

    async def classify(self, case: JudgeInput, answer: str) -> RefusalVerdict:
        request = ask_about(case.image, prompt(_PROMPT, question=case.question, answer=answer), max_tokens=32)
        try:
            lines, reply = await ask_structured(
                self._model, request, lambda said: read_lines(said, _FORM), reply_format(_FORM)
            )
        except RequestRejected as error:
            return RefusalVerdict("invalid", str(error))
        return RefusalVerdict(_CLASSES[lines["class"]] if lines else "invalid", reply.text)
