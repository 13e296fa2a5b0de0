"""How models are made: data, tokenizer, reference (SFT), preference pairs, and alignment."""
