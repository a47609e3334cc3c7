"""The gradient of a network: by autograd, by hand on the CPU, in a few kernels on CUDA."""
