class DataError(Exception):
    """Data that are missing or damaged. Its text is one sentence for the user."""


class DataRequestError(DataError):
    """Something was asked of a data set that it doesn't have."""
