"""The one door to storage: run folders, tables of records, images by hash, the ledger of calls."""

from spavl.store.ledger import Call, Ledger, LostCall
from spavl.store.run import Manifest, RunFolder

__all__ = ["Call", "Ledger", "LostCall", "Manifest", "RunFolder"]
