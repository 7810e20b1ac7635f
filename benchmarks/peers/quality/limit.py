"""Prints the minimum time for a JPEG of this width with libjpeg-turbo, in ms of one core: limit.py FILE WIDTH TIMES.

The file is decoded at the smallest scale that has the width, reduced by Pillow's box filter, and encoded at quality 80.
The median of TIMES runs, without HTTP, other processes, color management or checks for broken files.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy
import simplejpeg
from PIL import Image

path, width, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = Path(path).read_bytes()
height = round(width * simplejpeg.decode_jpeg_header(data)[0] / simplejpeg.decode_jpeg_header(data)[1])
spent = []
for _ in range(times):
    begun = time.process_time()
    pixels = simplejpeg.decode_jpeg(data, min_width=width, min_height=height, min_factor=1)
    small = numpy.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    simplejpeg.encode_jpeg(numpy.ascontiguousarray(small), quality=80, colorsubsampling="420")
    spent.append((time.process_time() - begun) * 1000)
print(f"{statistics.median(spent):.2f}")
