"""MNIST: 60,000 handwritten digits to learn from and 10,000 to be judged by.

The data is by Yann LeCun and Corinna Cortes, under CC BY-SA 3.0.
"""

from custom_image.mnist.dataset import load_mnist
from custom_image.mnist.digits import Digits, encode_jpeg

__all__ = ["Digits", "encode_jpeg", "load_mnist"]
