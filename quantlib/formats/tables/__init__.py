"""What references and kernels both take: the constants of ggml's searches, and the values of small scales."""
