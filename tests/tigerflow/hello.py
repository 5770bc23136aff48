from tigerflow.tasks import LocalTask


class HelloWorld(LocalTask):
    @staticmethod
    def setup(context):
        context.greeting = "Hello"
        print("Setup executed successfully!")

    @staticmethod
    def run(context, input_file, output_file):
        with open(input_file, "r") as fi:
            content = fi.read()

        new_content = context.greeting + ", " + content.upper()

        with open(output_file, "w") as fo:
            fo.write(new_content)

    @staticmethod
    def teardown(context):
        print("Teardown executed successfully!")


HelloWorld.cli()
