"""Finding passages: dense, full text, fused."""
