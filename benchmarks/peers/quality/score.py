"""SSIMULACRA2 of pairs of PNG files: paths on standard input, reference and picture on a line, a score a line out."""

import sys

from ssimulacra2 import compute_ssimulacra2

for line in sys.stdin:
    reference, picture = line.rstrip("\n").split("\t")
    print(f"{compute_ssimulacra2(reference, picture):.3f}", flush=True)
