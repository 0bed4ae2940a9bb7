"""The run folder: what was asked, what is finished, and how it is read. No torch."""

from heatproof.runs.manifest import read_manifest
from heatproof.runs.rows import batches, read, read_maps, read_rows, read_samples
from heatproof.runs.store import Store

__all__ = ["Store", "batches", "read", "read_manifest", "read_maps", "read_rows", "read_samples"]
