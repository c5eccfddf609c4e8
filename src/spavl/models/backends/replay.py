"""Models that answer from the ledger only; no server is contacted."""

from collections.abc import Mapping
from types import MappingProxyType

from spavl.errors import StoreError
from spavl.models.backends.dry_run import UnloadedBackend
from spavl.models.factory import Backend, ModelFactory, OpenedBackend
from spavl.models.model_settings import ModelSettings
from spavl.models.names import hf_name, openai_name
from spavl.models.types import ChatModel, Reply, Request
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.models.wrappers.stack import LedgerCached
from spavl.store import Ledger


class ReplayFactory(ModelFactory):
    def __init__(
        self,
        ledger: Ledger,
        settings: Mapping[str, ModelSettings] = MappingProxyType({}),
        pace: PaceConfig | None = None,
    ) -> None:
        super().__init__(ledger, settings=settings, pace=pace)
        self._known = self._names_before()

    @property
    def asks(self) -> bool:
        return False

    def _load_openai(self, name: str, url: str | None) -> Backend:
        return UnloadedBackend(openai_name(name))

    def _load_hf(self, path: str, dtype: str) -> Backend:
        return UnloadedBackend(hf_name(path, self._known) or f"hf/{path}")

    def _wrap_backend(self, opened: OpenedBackend, stage: str) -> ChatModel:
        missing = _Missing(opened.backend.name, stage)
        return LedgerCached(missing, self._ledger, stage, former=opened.former)


class _Missing:
    """Raises an error that names the call that is missing in the ledger."""

    def __init__(self, name: str, stage: str) -> None:
        self.name, self._stage = name, stage

    async def ask(self, request: Request) -> Reply:
        text = " ".join(request.messages[-1].text.split())
        raise StoreError(
            f"the ledger does not hold call {request.key(self.name)} to {self.name}",
            where=f"{self._stage}, which asks: {text[:100]}",
            then="type the command without --replay: what is missing is asked, and nothing is paid twice",
        )
