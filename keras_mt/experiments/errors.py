"""What the programs tell a user in one sentence; `program` turns each into an exit status."""

import signal


class UsageError(Exception):
    """What was asked for can't be done as it was asked. Status 2."""


class RunError(Exception):
    """The run can't begin or go on. Status 1."""


class DataError(Exception):
    """Data that are missing or damaged. Its text is one sentence for the user. Status 1."""


class DataRequestError(DataError):
    """Something was asked of a data set that it doesn't have. Status 2."""


class Interrupted(Exception):
    """The run was told to end and is saved. Status 128 plus the signal.

    Args:
        number: The signal.
        step: The step that was saved.
    """

    def __init__(self, number: int, step: int):
        super().__init__(
            f"{signal.Signals(number).name} received: step {step} is finished and saved; the same command continues "
            "from it"
        )
        self.status = 128 + number
