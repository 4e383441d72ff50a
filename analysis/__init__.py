"""What an architecture costs and sees: parameters, MACs, memory and receptive field, before anything is trained."""
