"""One module per component: its facts from the configuration, its metadata keys, its tensors."""
