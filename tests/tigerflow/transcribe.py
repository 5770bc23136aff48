import whisper

from tigerflow.tasks import SlurmTask


class Transcribe(SlurmTask):
    @staticmethod
    def setup(context):
        context.model = whisper.load_model("/home/sp8538/.cache/whisper/medium.pt")
        print("Model loaded successfully")

    @staticmethod
    def run(context, input_file, output_file):
        result = context.model.transcribe(str(input_file))
        print(f"Transcription ran successfully for {input_file}")

        with open(output_file, "w") as f:
            f.write(result["text"])


Transcribe.cli()
