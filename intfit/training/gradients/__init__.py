"""The gradient of a network: by autograd, by hand on the CPU, in one kernel on CUDA."""
