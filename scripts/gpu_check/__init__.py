"""Check and measure vision-composer on one GPU, in under eight minutes, and write down what came out.

    python scripts/gpu_check -o results

``results/gpu_check.json`` and ``results/gpu_check.md`` are written anew after every measurement, so that what
was measured is there however the run ends. Nothing is downloaded: all weights are random.

The measurements run in a process of their own, which this one watches: a crash, a hang or a broken CUDA
context costs one measurement, and a new process goes on behind it. In a checkout without an installation the
package is taken from the checkout.
"""
