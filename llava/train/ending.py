"""How a run ends before its last step: in one sentence, and with an exit code that schedulers understand."""

FAILED = 1
"""Going on would have cost time or results; the message says what to mend."""
SAVED = 75
"""Asked to end, and saved: start it again with ``--resume``. The code is ``EX_TEMPFAIL`` of sysexits.h."""


class RunEndedError(Exception):
    """A run that ends on purpose; ``code`` is the exit code of its process."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
