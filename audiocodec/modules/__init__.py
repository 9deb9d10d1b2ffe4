"""Network layers: causal convolutions with caller-owned state, and the SEANet pair made of them."""
