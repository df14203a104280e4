"""The log of wakefd: what no caller can be told goes to the logger `wakefd`."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger


def logger() -> "Logger":
    """Return the logger. The logging module is not imported before there is a word to say."""
    from logging import getLogger  # noqa: PLC0415

    return getLogger("wakefd")


def refused(whose: object, consequence: str, error: OSError) -> None:
    """Report a wake-up that the system refused. Each object reports its first one only."""
    logger().error("a wake-up of %s was refused; %s: %s", whose, consequence, error)
