/*
 * normalize-audio: makes recordings equally loud. It reads each file twice, once
 * to measure and once to write, in pieces: it may be larger than the memory.
 */

#include <math.h>

#include "tigerflow.h"

#include "wav.h"

/* How many samples are in memory at a time. */
#define PIECE_SAMPLES 8192

/* What counts as silence: no 24 bits can tell it from zero. */
#define SILENCE 1e-8

enum mode { PEAK, RMS };

static enum mode mode = PEAK;
static double peak = -1;
static double rms = -20;
static bool mono;

/* What the samples of a file are like. */
typedef struct loudness {
    double highest; /* The greatest amplitude. */
    double squares; /* The sum of the squares. */
    uint64_t samples;
} loudness;

/* A file that is read piece by piece. */
typedef struct source {
    const char *path;
    FILE *file;
    wav header;
    uint64_t left; /* Frames that are to come. */
    size_t piece_frames;
    unsigned char *bytes;
    double *samples;
} source;

static double from_decibels(double decibels)
{
    return pow(10, decibels / 20);
}

static double to_decibels(double amplitude)
{
    return 20 * log10(amplitude);
}

static tf_error *setup(void)
{
    if (!(peak <= 0) || !(rms <= 0))
        return tf_failed("InvalidParameter", "0 dBFS is the loudest that there is: "
                                             "`--peak` and `--rms` must be 0 or less");
    return NULL;
}

/* ------------------------------------------------------------------- Reading */

static tf_error *open_source(const char *path, source *from)
{
    const wav *header = &from->header;

    from->path = path;
    TF_TRY(tf_open(path, "rb", &from->file));
    TF_TRY(tf_context(wav_read_header(from->file, &from->header), "`%s`", tf_name(path)));
    from->left = header->frames;
    from->piece_frames = header->channels < PIECE_SAMPLES ? PIECE_SAMPLES / header->channels : 1;
    from->bytes = (unsigned char *)tf_alloc(from->piece_frames * header->frame_bytes);
    from->samples =
        (double *)tf_alloc(from->piece_frames * header->channels * sizeof *from->samples);
    return NULL;
}

/* The mean of the channels, in place. */
static void mix(double *samples, size_t frames, unsigned channels)
{
    for (size_t frame = 0; frame < frames; frame++) {
        double sum = 0;
        for (unsigned channel = 0; channel < channels; channel++)
            sum += samples[frame * channels + channel];
        samples[frame] = sum / channels;
    }
}

/* Reads the next piece, mixed where that is wanted; 0 frames are the end. */
static tf_error *next_piece(source *from, size_t *frames)
{
    const wav *header = &from->header;
    const size_t wanted = from->left < from->piece_frames ? (size_t)from->left : from->piece_frames;

    *frames = fread(from->bytes, header->frame_bytes, wanted, from->file);
    if (*frames < wanted && header->frames != UINT64_MAX)
        return tf_failed("BrokenAudio",
                         "`%s` is cut off: %llu of its %llu frames are there", tf_name(from->path),
                         (unsigned long long)(header->frames - from->left + *frames),
                         (unsigned long long)header->frames);
    from->left -= *frames;
    wav_decode(header, from->bytes, from->samples, *frames * header->channels);
    if (mono)
        mix(from->samples, *frames, header->channels);
    return NULL;
}

/* ------------------------------------------------------------------- Measuring */

static tf_error *measure(const char *input, loudness *found, uint64_t *frames)
{
    source from;
    size_t count, samples;

    TF_TRY(open_source(input, &from));
    *frames = 0;
    for (;;) {
        TF_TRY(next_piece(&from, &count));
        if (count == 0)
            return tf_close(from.file);
        samples = mono ? count : count * from.header.channels;
        for (size_t i = 0; i < samples; i++) {
            if (!isfinite(from.samples[i]))
                return tf_failed("BrokenAudio", "`%s` has a sample that is no number, in frame %llu",
                                 tf_name(input),
                                 (unsigned long long)(*frames + i * count / samples));
            found->highest = fmax(found->highest, fabs(from.samples[i]));
            found->squares += from.samples[i] * from.samples[i];
        }
        found->samples += samples;
        *frames += count;
        if (from.header.frames != UINT64_MAX)
            tf_progress(input, 0.5 * (double)*frames / (double)from.header.frames);
    }
}

/* What every sample is to be multiplied by. */
static double gain_for(const loudness *found)
{
    const double up_to_peak = from_decibels(peak) / found->highest;

    if (mode == PEAK)
        return up_to_peak;
    /* As loud as asked for, but never over the peak. */
    return fmin(up_to_peak,
                from_decibels(rms) / sqrt(found->squares / (double)found->samples));
}

/* -------------------------------------------------------------------- Writing */

static tf_error *apply(const char *input, const char *output, double gain, uint64_t frames)
{
    source from;
    wav header;
    FILE *to;
    size_t count, samples;

    TF_TRY(open_source(input, &from));
    from.header.frames = from.left = frames;
    header = mono ? wav_mono(&from.header) : from.header;
    TF_TRY(tf_open(output, "wb", &to));
    TF_TRY(wav_write_header(to, &header));
    for (;;) {
        TF_TRY(next_piece(&from, &count));
        if (count == 0)
            break;
        samples = count * header.channels;
        for (size_t i = 0; i < samples; i++)
            from.samples[i] *= gain;
        wav_encode(&header, from.samples, from.bytes, samples);
        fwrite(from.bytes, header.frame_bytes, count, to);
        tf_progress(input, 1 - 0.5 * (double)from.left / (double)frames);
    }
    wav_finish(to, &header);
    return NULL;
}

static tf_error *run(const char *input, const char *output)
{
    loudness found = { 0 };
    uint64_t frames;
    double gain = 1;

    TF_TRY(measure(input, &found, &frames));
    if (found.highest < SILENCE) {
        tf_log(TF_WARN, "it is silent, and stays so");
    } else {
        gain = gain_for(&found);
        tf_log(TF_DEBUG, "peak %.1f dBFS, RMS %.1f dBFS, changed by %+.1f dB",
               to_decibels(found.highest),
               to_decibels(sqrt(found.squares / (double)found.samples)), to_decibels(gain));
    }
    return apply(input, output, gain, frames);
}

const tf_task tigerflow_task = {
    .name = "normalize-audio",
    .version = "0.1.0",
    .summary = "Makes recordings (WAV) equally loud",
    .parameters = {
        TF_PARAMETER(mode, "What is brought to a level: the highest peak, or the mean loudness",
                     .choices = "peak|rms"),
        TF_PARAMETER(peak, "The level of the highest peak, in dBFS"),
        TF_PARAMETER(rms, "The mean loudness with `--mode rms`, in dBFS"),
        TF_PARAMETER(mono, "Mix all channels into one"),
    },
    .setup = setup,
    .run = run,
};
