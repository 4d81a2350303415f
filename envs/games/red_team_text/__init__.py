"""The red-team game on real text: requests from a file, any tokenizer, a learned judge."""
