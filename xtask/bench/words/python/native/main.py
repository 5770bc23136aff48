import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from words import count

source, place = map(Path, sys.argv[1:])
for file in source.iterdir():
    (place / file.name).write_text(count(file.read_text()))
