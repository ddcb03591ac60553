"""The model in PyTorch, with the official names of tensors. Needs the extra `train`."""
