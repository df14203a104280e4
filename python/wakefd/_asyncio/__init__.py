"""The name by which the compiled half finds the turn of the asyncio loop that runs here."""

from wakefd._loops.asyncio import turn

__all__ = ["turn"]
