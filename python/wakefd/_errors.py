"""What wakefd raises of its own."""


class ClosedResourceError(RuntimeError):
    """The event is closed: its flag will never rise again."""

    __module__ = "wakefd"
