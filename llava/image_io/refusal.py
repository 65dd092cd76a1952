"""The one kind of error that bad files end in; apart, because the process that draws pages imports little else."""


class Refusal(ValueError):
    """A file that cannot be read, in one sentence: which, what is wrong with it, and what to do."""

    def __init__(self, name: str, fault: str, mend: str) -> None:
        super().__init__(f"Cannot read {name}: {fault}; {mend}.")
        self.fault, self.mend = fault, mend
