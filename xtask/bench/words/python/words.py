from collections import Counter


def count(text):
    words = text.split()
    counts = Counter(words)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    lines = [f"{len(words)} {len(counts)}"] + [f"{word} {number}" for word, number in top]
    return "\n".join(lines) + "\n"
