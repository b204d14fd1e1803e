"""Learning: pure losses, batches, log-probs, adapters, and the sessions that change weights.

Import the modules themselves (`tutelage.learning.preference`, `tutelage.learning.sft`): nothing here imports torch.
"""
