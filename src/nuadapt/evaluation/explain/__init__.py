"""Whether explanations hold: reasons against truth and images, pixel evidence against the model."""
