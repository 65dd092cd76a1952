"""A loaded model that answers: settings and checkpoints resolved once, and the session that asks."""
