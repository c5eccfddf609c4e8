"""Calls models: names, backends, wrappers (ledger, retries, rate limits, spend stop), batches."""
