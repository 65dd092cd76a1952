"""What models are asked: drawn pages and public data sets."""
