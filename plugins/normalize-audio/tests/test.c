/* Tests of the task, natively: `make test`. They run where the samples are. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../normalize_audio.c"

#define OUTPUT "build/output.wav"
#define BROKEN "build/broken.wav"

/* The loudness of what the task makes of `input`. */
static loudness result(const char *input)
{
    loudness found = { 0 };
    uint64_t frames;

    assert(tf_test_run(input, OUTPUT) == NULL);
    assert(measure(OUTPUT, &found, &frames) == NULL);
    return found;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 0.1; /* Decibels. 8 bits are that coarse. */
}

/* Whether the bytes, as a file, fail with these words in the message. */
static bool fails(const void *bytes, size_t size, const char *kind, const char *words)
{
    tf_error *error;

    assert(tf_write(BROKEN, bytes, size) == NULL);
    error = tf_test_run(BROKEN, OUTPUT);
    if (error == NULL)
        return false;
    printf("    %s: %s\n", tf_kind(error), tf_message(error));
    return strcmp(tf_kind(error), kind) == 0 && strstr(tf_message(error), words) != NULL;
}

static void peaks_are_brought_to_the_level(void)
{
    static const char *const inputs[] = {
        "samples/string-16bit.wav", "samples/whistles-stereo-24bit.wav", "samples/steps-8bit.wav",
        "samples/chord-float.wav",  "samples/whistles-stereo-32bit.wav",
    };
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        mode = PEAK;
        peak = -1;
        assert(near(to_decibels(result(inputs[i]).highest), -1));
        peak = -12;
        assert(near(to_decibels(result(inputs[i]).highest), -12));
    }
    peak = -1;
}

static void the_mean_is_brought_to_the_level_below_the_peak(void)
{
    loudness found;

    mode = RMS;
    rms = -20;
    found = result("samples/chord-float.wav");
    assert(near(to_decibels(sqrt(found.squares / (double)found.samples)), -20));
    rms = -3; /* This would need peaks over -1 dBFS. */
    found = result("samples/steps-8bit.wav");
    assert(near(to_decibels(found.highest), -1));
    mode = PEAK;
    rms = -20;
}

static void channels_are_mixed(void)
{
    source from;
    mono = true;
    result("samples/whistles-stereo-24bit.wav");
    assert(open_source(OUTPUT, &from) == NULL);
    assert(from.header.channels == 1 && from.header.bits == 24 && from.header.frames == 1600);
    mono = false;
}

static void silence_stays(void)
{
    assert(result("samples/silence-16bit.wav").highest == 0);
}

static void samples_survive(void)
{
    static const unsigned bits[] = { 8, 16, 24, 32 };
    unsigned char bytes[8] = { 0 };
    double sample;

    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        wav header = { .channels = 1, .bits = bits[i] };
        for (unsigned value = 0; value < 256; value++) {
            unsigned char back[8] = { 0 };
            memset(bytes, (int)value, bits[i] / 8);
            wav_decode(&header, bytes, &sample, 1);
            wav_encode(&header, &sample, back, 1);
            assert(memcmp(bytes, back, bits[i] / 8) == 0);
        }
        sample = 2; /* Too loud. */
        wav_encode(&header, &sample, bytes, 1);
        wav_decode(&header, bytes, &sample, 1);
        assert(sample < 1 && sample > 0.99);
    }
}

static void broken_files_are_told_apart(void)
{
    char *whole, *text;
    size_t size;

    assert(tf_read("samples/string-16bit.wav", &text, &size) == NULL);
    whole = (char *)malloc(size); /* What `tf_read` gave ends with the next run. */
    memcpy(whole, text, size);

    assert(fails("", 0, "NotWav", "too short"));
    assert(fails("ID3\3 this is an MP3", 20, "NotWav", "no WAV file"));
    assert(fails("RF64\xFF\xFF\xFF\xFFWAVEds64", 16, "UnsupportedAudio", "RF64"));
    assert(fails(whole, 30, "BrokenAudio", "ends before its samples"));
    assert(fails(whole, size - 1000, "BrokenAudio", "is cut off: 3500 of its 4000 frames"));

    whole[20] = 0x55;
    assert(fails(whole, size, "UnsupportedAudio", "MP3"));
    whole[20] = 1;
    whole[22] = 0;
    assert(fails(whole, size, "BrokenAudio", "0 channels"));
    whole[22] = 2;
    assert(fails(whole, size, "BrokenAudio", "2 channels of 16 bits take 2 bytes"));
    whole[22] = 1;
    whole[34] = 12;
    assert(fails(whole, size, "UnsupportedAudio", "12 bits"));
    whole[34] = 16;
    whole[40]++;
    assert(fails(whole, size, "BrokenAudio", "no whole frames"));
    memcpy(whole + 36, "data\xFF\xFF\xFF\xFF", 8); /* From a pipe: up to the end. */
    assert(!fails(whole, size, "", ""));
    free(whole);

    assert(tf_read("samples/chord-float.wav", &text, &size) == NULL);
    memcpy(text + 60, "\0\0\xC0\x7F", 4); /* A float that is no number. */
    assert(fails(text, size, "BrokenAudio", "no number, in frame 1"));
}

/* Whatever is in a file, the task ends well or with an error. */
static void any_byte_may_be_wrong(void)
{
    char *whole, *text;
    size_t size;
    unsigned random = 1;

    assert(tf_read("samples/chord-float.wav", &text, &size) == NULL);
    whole = (char *)malloc(size);
    memcpy(whole, text, size);
    for (int round = 0; round < 3000; round++) {
        const char before = whole[random % 64];
        const unsigned at = random % 64;
        random = random * 1664525 + 1013904223;
        whole[at] = (char)(random >> 24);
        assert(tf_write(BROKEN, whole, 64 + (random >> 8) % (size - 64)) == NULL);
        tf_test_run(BROKEN, OUTPUT);
        whole[at] = before;
    }
    free(whole);
}

#define TEST(function)                  \
    do {                                \
        printf("%s\n", #function);      \
        fflush(stdout);                 \
        function();                     \
    } while (0)

int main(void)
{
    TEST(samples_survive);
    TEST(peaks_are_brought_to_the_level);
    TEST(the_mean_is_brought_to_the_level_below_the_peak);
    TEST(channels_are_mixed);
    TEST(silence_stays);
    TEST(broken_files_are_told_apart);
    TEST(any_byte_may_be_wrong);
    assert(tf_test_teardown() == NULL);
    puts("all passed");
    return 0;
}
