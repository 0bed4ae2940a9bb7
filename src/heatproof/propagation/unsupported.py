"""What a rule says of a call that it does not hold for."""


class UnsupportedCallError(Exception):
    """Raised where there is no rule for a call, with the reason; the engine adds where the call stands."""
