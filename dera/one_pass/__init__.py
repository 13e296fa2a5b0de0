"""A base and its LoRA adapters read together: one batch holds the rows of every model."""
