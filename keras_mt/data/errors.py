class DataError(Exception):
    """Data that is missing, damaged or not what an experiment needs. Its text is one sentence for the user."""
