"""A trained network as a file that a service can use without this package."""
