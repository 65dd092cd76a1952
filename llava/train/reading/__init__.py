"""A vision tower learns to read on crops of print, before any language model is there."""
