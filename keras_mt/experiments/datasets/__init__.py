"""The data sets of the experiments: files, downloads, caches."""
