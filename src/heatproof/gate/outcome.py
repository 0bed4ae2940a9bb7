"""What became of a requirement."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Whether a requirement is kept, of whom, and why: `why` has the number, its interval and what to do."""

    requirement: str
    kept: bool
    why: str
    method: str = ""

    @property
    def name(self) -> str:
        """The requirement, with the method where it did not name one."""
        told = f"{self.requirement} ({self.method})" if self.method and self.method not in self.requirement else ""
        return told or self.requirement
