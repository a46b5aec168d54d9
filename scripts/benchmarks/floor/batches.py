"""One picture a run or several together: ``batches.py PICTURE SECONDS SIZE...``.

Prints, a line for each size, the microseconds a picture costs: decoded alone, run together.
"""

import sys
import time
from pathlib import Path

import numpy as np
from shared_handler import Classifier, decode  # type: ignore[import-not-found]

picture, seconds = Path(sys.argv[1]).read_bytes(), float(sys.argv[2])
classifier = Classifier()
for size in map(int, sys.argv[3:]):
    pictures = 0
    begin = now = time.perf_counter()
    while now - begin < seconds:
        classifier.predict_pixels(np.concatenate([decode(picture) for _ in range(size)]))
        pictures += size
        now = time.perf_counter()
    sys.stdout.write(f"{size} {1e6 * (now - begin) / pictures:.1f}\n")
