"""From loop nests to kernels that teams of threads carry out."""
