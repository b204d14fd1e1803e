"""What a model can do: strategies, metrics, intervals and paired comparisons."""
