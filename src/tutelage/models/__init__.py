"""Opening models and tokenizers; the one place that samplers and learners share. Importing this loads nothing."""
