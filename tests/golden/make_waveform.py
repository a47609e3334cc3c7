"""Made waveform.safetensors, of a recording that is tuned for SNR, once. It never changes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_mdct import encoded, notes

data = encoded(notes(0.9, 2), quality=45, tune="snr").data
(Path(__file__).parent / "waveform.safetensors").write_bytes(data)
