"""The losses of training, one file each."""
