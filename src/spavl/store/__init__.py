"""Run folders, tables of records, images by hash, and the ledger of model calls."""

from spavl.store.ledger import Call, Ledger, LostCall
from spavl.store.run import Manifest, RunFolder, manifests_in

__all__ = ["Call", "Ledger", "LostCall", "Manifest", "RunFolder", "manifests_in"]
