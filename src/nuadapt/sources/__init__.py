"""How events come in: every reader and the simulation yield EventBatch, and nothing else leaves this folder."""
