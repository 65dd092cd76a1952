"""What a run learns from: records of conversations and drawn pages, made into samples and batches."""
