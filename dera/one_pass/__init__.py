"""One pass for a base and its LoRA adapters: a single batch holds the rows of every part."""
