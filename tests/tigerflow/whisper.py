"""In the place of the package of this name, whose model needs PyTorch: it "hears" a word for
each kilobyte."""

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Model:
    def __init__(self, path):
        self.path = path

    def transcribe(self, path):
        with open(path, "rb") as file:
            size = len(file.read())
        return {"text": " ".join(WORDS[number % 10] for number in range(size // 1024))}


def load_model(path):
    return Model(path)
