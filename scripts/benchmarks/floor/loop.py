"""The handler in a bare loop, in the shared environment: ``loop.py PICTURE SECONDS``.

Says when it is ready, begins at a line on standard input, prints predictions a second.
"""

import sys
import time
from pathlib import Path

from shared_handler import Classifier  # type: ignore[import-not-found]

picture, seconds = Path(sys.argv[1]).read_bytes(), float(sys.argv[2])
classifier = Classifier()
classifier.predict_bytes(picture)
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()

predictions = 0
begin = now = time.perf_counter()
while now - begin < seconds:
    classifier.predict_bytes(picture)
    predictions += 1
    now = time.perf_counter()
sys.stdout.write(f"{predictions / (now - begin)}\n")
