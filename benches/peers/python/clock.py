"""Times a call."""

import math
import time


def fastest(call, min_time):
    """Seconds of the fastest of at least five calls that take `min_time` together."""
    call()
    best, count, begun = math.inf, 0, time.perf_counter()
    while count < 5 or time.perf_counter() - begun < min_time:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        count += 1
    return best
