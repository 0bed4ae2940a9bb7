"""What a reader calls the parts of a sample: a table's columns, a series' leads and seconds, a volume's spacing."""

from dataclasses import dataclass

from heatproof.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the parts of every sample of a data set; empty where there are none.

    Attributes:
        columns: of a table, one a feature.
        leads: of a series or a volume, one a channel.
        rate: positions of a series a second.
        spacing: the distance of neighboring positions along each axis.
        unit: of `spacing`, such as "mm".
    """

    columns: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    rate: float | None = None
    spacing: tuple[float, ...] = ()
    unit: str = ""

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse names that are not those of samples (C, positions …). Raises: InputError."""
        if self.leads and len(self.leads) != shape[0]:
            raise InputError(f"Expected a name for each of {shape[0]} channels, but got {len(self.leads)}.")
        if self.rate is not None and not self.rate > 0:
            raise InputError(f"Expected a sampling rate above 0, in positions a second, but got {self.rate}.")
        if self.spacing and (len(self.spacing) != len(shape) - 1 or min(self.spacing) <= 0):
            raise InputError(f"Expected a spacing above 0 for each of {len(shape) - 1} axes, but got {self.spacing}.")
