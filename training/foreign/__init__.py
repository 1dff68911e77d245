"""Checkpoints of OpenAI's CLIP, open_clip and Hugging Face as ours, and ours as theirs:
`read.read_foreign`, `write.write_foreign`.
"""
