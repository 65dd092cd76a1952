"""``lavida train`` from a clone, for settings that teach a vision tower to read on crops of print.

python -m scripts.train_reading configs/small/1_read.yaml --resume
"""

import sys

from scripts.train_shirg_x import main

if __name__ == "__main__":
    sys.exit(main())
