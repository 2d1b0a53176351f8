"""What `--preprocessing=auto` is."""


def preprocessing_of(flag: str, architecture: str, dataset: str) -> str:
    """Returns the preprocessing of a network.

    Args:
        flag: Of --preprocessing.
        architecture: Of --architecture.
        dataset: Of --dataset, without a version.
    """
    if flag != "auto":
        return flag
    if architecture != "convnet13":
        return "channels"
    return "zca" if dataset == "cifar10" else "standardize"
