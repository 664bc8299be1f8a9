"""The chat model and the embedding model, behind two small ports."""
