"""Reasons that can be checked: claims about an event, their wording, and reading them back from text."""
