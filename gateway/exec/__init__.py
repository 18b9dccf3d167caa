"""Run an unchanged Python program with huggingface_hub's inference calls pointed at a gateway."""
