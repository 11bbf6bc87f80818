"""Files and samples into tensors and back."""
