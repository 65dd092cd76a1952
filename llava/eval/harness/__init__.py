"""What the harnesses share: the model's settings, and conversations as they give them."""
